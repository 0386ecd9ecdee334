const ADDRESS = process.env.TURBULENCE_URL ?? "http://127.0.0.1:5001";

/** The kinds of things of which a page is made. Each is a tag of the answers that are kept. */
export const KINDS = ["sections", "stories", "projects", "pages"];

/** Returns the content of a path, or `null` if there is none. Answers are kept until a webhook comes. */
export async function resolve(path) {
  const address = `${ADDRESS}/resolve?${new URLSearchParams({ path, limit: "20" })}`;
  const answer = await fetch(address, { cache: "force-cache", next: { tags: KINDS } });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

/** Returns the item of a preview link, or `null` if the link does not work. It is never kept. */
export async function preview(token) {
  const address = `${ADDRESS}/preview?${new URLSearchParams({ token })}`;
  const answer = await fetch(address, { cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}
