// Clients of the site that `run.js` has started.

import { Client, type Schemas, unwrap } from "turbulence-client";

export const SITE_URL = process.env["SITE_URL"]!;
export const token = process.env["SITE_TOKEN"]!;

/** A reader without an account. */
export const site = new Client({ url: SITE_URL });
export const editor = site.with({ token });

let sections = 0;

interface Created {
  section: Schemas["Section"];
  stories: Schemas["Story"][];
}

/** Creates a section with so many stories, for one test. */
export async function sectionWith(count: number): Promise<Created> {
  const title = `Section ${process.pid} ${(sections += 1)}`;
  const section = unwrap(await editor.post("/sections", { body: { title, content_type: "story" } }));
  const stories = [];
  for (let n = 1; n <= count; n += 1) {
    const body = { title: `Story ${n} of ${title}`, content: `<p>Text ${n}.</p>`, section_id: section.id };
    stories.push(unwrap(await editor.post("/stories", { body })));
  }
  return { section, stories };
}
