// The code of the documentation is part of files that are tested.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

const ROOT = "../..";
const DOCUMENTS = ["clients/typescript/README.md", "docs/guides/use-from-a-frontend.md"];
const SOURCES = ["clients/typescript/test", "examples/nextjs"];
const LANGUAGES = /^```(?:ts|tsx|js)$(.*?)^```$/gms;

/** Returns a text without indentation, which differs inside of functions. */
const flat = (text: string) => text.trim().replace(/\n\s*/g, "\n");

async function sources(folder: string): Promise<string[]> {
  const texts = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!["node_modules", ".next"].includes(entry.name)) texts.push(...(await sources(path)));
    } else if (/\.(ts|tsx|js)$/.test(entry.name)) {
      texts.push(flat(await readFile(path, "utf8")));
    }
  }
  return texts;
}

test("each snippet is part of a tested file", async () => {
  const texts = (await Promise.all(SOURCES.map((folder) => sources(`${ROOT}/${folder}`)))).flat();
  for (const document of DOCUMENTS) {
    const snippets = [...(await readFile(`${ROOT}/${document}`, "utf8")).matchAll(LANGUAGES)];
    assert.ok(snippets.length > 5, document);
    for (const [, snippet = ""] of snippets) {
      // Empty lines separate parts that belong to different scopes of the test.
      for (const part of snippet.trim().split("\n\n")) {
        assert.ok(texts.some((text) => text.includes(flat(part))), `${document}:\n${part}`);
      }
    }
  }
});
