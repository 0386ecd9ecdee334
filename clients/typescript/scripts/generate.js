// Writes src/generated/api.ts: the types of docs/openapi.json, and what else the client has to know of
// each route.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const DOCUMENT = new URL("../../../docs/openapi.json", import.meta.url);
const FOLDER = new URL("../src/generated/", import.meta.url);
const METHODS = ["get", "post", "put", "patch", "delete"];

const document = JSON.parse(await readFile(DOCUMENT, "utf8"));

/** Returns the names of which a text is a list with commas, or `null` if a schema is something else. */
function namesOf({ type, pattern }) {
  const match = type === "string" && pattern?.match(/^\^\(([\w|]+)\)\(,\(\1\)\)\*\$$/);
  return match ? match[1].split("|") : null;
}

/** Makes lists with commas arrays of their names. */
function transform(schema) {
  const names = namesOf(schema);
  if (!names) return undefined;
  const literals = names.map((name) =>
    ts.factory.createLiteralTypeNode(ts.factory.createStringLiteral(name)),
  );
  const list = ts.factory.createArrayTypeNode(ts.factory.createUnionTypeNode(literals));
  return ts.factory.createTypeOperatorNode(ts.SyntaxKind.ReadonlyKeyword, list);
}

const resolved = (value) =>
  value.$ref ? value.$ref.slice(2).split("/").reduce((at, name) => at[name], document) : value;

/** Returns an entry for each operation: its path, its method and its responses. */
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method]).map((method) => ({
    path,
    method,
    responses: Object.entries(item[method].responses).map(([status, response]) => ({
      status,
      ...resolved(response),
    })),
  })),
);

/** The codes of the errors of each operation. */
const codes = Object.keys(document.paths).map((path) => {
  const members = operations
    .filter((operation) => operation.path === path)
    .map(({ method, responses }) => {
      const all = new Set(responses.flatMap((response) => response["x-error-codes"] ?? []));
      return `${method}: ${[...all].map((code) => JSON.stringify(code)).join(" | ") || "never"};`;
    });
  return `  ${JSON.stringify(path)}: { ${members.join(" ")} };`;
});

/** The media types of the answers that are not JSON. */
const mediaTypes = operations.flatMap(({ path, method, responses }) => {
  const success = responses.filter(({ status }) => status.startsWith("2"));
  const types = [...new Set(success.flatMap(({ content }) => Object.keys(content ?? {})))];
  if (method !== "get" || types.every((type) => type === "application/json")) return [];
  return [`  ${JSON.stringify(path)}: ${JSON.stringify(types)},`];
});

const text = `// Generated from docs/openapi.json by \`npm run generate\`.

${astToString(await openapiTS(document, { transform, defaultNonNullable: false }))}
/** The codes of the errors of each operation. */
export interface ErrorCodes {
${codes.join("\n")}
}

/** The media types of the answers that are not JSON. */
export const MEDIA_TYPES: Partial<Record<string, readonly string[]>> = {
${mediaTypes.join("\n")}
};
`;
await mkdir(FOLDER, { recursive: true });
await writeFile(new URL("api.ts", FOLDER), text);
