// node build/example.js [ADDRESS]; with TURBULENCE_TOKEN it also creates and edits a story.

import { ApiError, turbulence } from "./client.js";

const address = process.argv[2] ?? "http://127.0.0.1:5001";
const token = process.env["TURBULENCE_TOKEN"];
const api = turbulence(address, token);

for await (const story of api.allStories({ section: "blog", limit: 5 })) {
  console.log(`${story.createdDate ?? "-"}  ${story.title}`);
}

const blog = await api.resolve("/blog");
if (blog.kind === "section") {
  console.log(blog.breadcrumbs.map((crumb) => crumb.title).join(" > "), "at", blog.canonical_path);
}

const { cursor } = await api.changes();
const { changes } = await api.changes(cursor, ["stories"]);
for (const change of changes) {
  console.log(change.event, change.path ?? change.previous_path ?? "several stories");
}

if (token !== undefined) {
  const created = await api.createStory({
    title: "Written from TypeScript",
    content: "<p>Hello.</p>",
    is_published: false,
  });
  const edited = await api.editStory(created, { title: "Edited from TypeScript" });
  console.log(`${edited.value.id}  ${edited.value.title}`);
  try {
    await api.editStory(created, { title: "Too late" });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    console.log(error.problem.code);
  }
}
