import { notFound, permanentRedirect } from "next/navigation";
import { resolve } from "../../lib/turbulence.js";

// Pages are rendered when they are first read, and kept until a webhook tells of a change.
export const dynamic = "force-static";

export function generateStaticParams() {
  return [];
}

export default async function Page({ params }) {
  const { path = [] } = await params;
  const found = await resolve(`/${path.map(decodeURIComponent).join("/")}`);
  if (!found) notFound();
  if (found.kind === "moved") permanentRedirect(found.moved_to);
  const { content, section } = found;
  if (found.kind === "item") {
    return (
      <article>
        <h1>{content.title}</h1>
        {/* The HTML of Turbulence is sanitised. */}
        <div dangerouslySetInnerHTML={{ __html: content.content }} />
      </article>
    );
  }
  return (
    <main>
      <h1>{section.title}</h1>
      <ul>
        {content.items.map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
    </main>
  );
}
