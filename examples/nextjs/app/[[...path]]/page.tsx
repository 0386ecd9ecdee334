import type { Metadata } from "next";
import Link from "next/link";
import { notFound, permanentRedirect } from "next/navigation";
import { Cards } from "@/components/cards";
import { Article } from "@/components/item";
import { Pager } from "@/components/pager";
import { further, resolve } from "@/lib/site";

type Props = {
  params: Promise<{ path?: string[] }>;
  searchParams: Promise<{ cursor?: string | string[] }>;
};

/** Returns the content of the address. The segments are percent-encoded, as `/resolve` accepts them. */
async function find({ params }: Props) {
  const { path = [] } = await params;
  const found = await resolve(`/${path.join("/")}`);
  if (found === null) notFound();
  if (found.kind === "moved") permanentRedirect(found.moved_to);
  return found;
}

export async function generateMetadata(props: Props): Promise<Metadata> {
  const found = await find(props);
  const { section, canonical_path } = found;
  const { title } = found.kind === "item" ? found.content : section;
  // A section that shows an item as its page has the facts of the item first, and then its own.
  const sources = [
    ...(found.kind === "item" ? [found.content] : []),
    ...(canonical_path === section.path ? [section] : []),
  ];
  const first = (name: "description" | "social_image" | "canonical") =>
    sources.map((source) => source[name]).find((value) => value !== null);
  const description = first("description");
  const image = first("social_image");
  const feed = `/feeds${found.breadcrumbs.at(-1)?.path}`;
  return {
    title,
    // Otherwise it is that of the site.
    ...(description ? { description } : {}),
    robots: { index: !sources.some(({ noindex }) => noindex) },
    openGraph: { title, ...(description ? { description } : {}), images: image ? [image] : [] },
    alternates: {
      canonical: first("canonical") ?? canonical_path,
      types: {
        "application/rss+xml": `${feed}.rss`,
        "application/atom+xml": `${feed}.atom`,
        "application/feed+json": `${feed}.json`,
      },
    },
  };
}

export default async function Page(props: Props) {
  const found = await find(props);
  const trail = found.breadcrumbs.slice(0, found.kind === "item" ? undefined : -1);
  const breadcrumbs = trail.length > 0 && found.canonical_path !== trail.at(-1)?.path && (
    <nav className="breadcrumbs" aria-label="Breadcrumbs">
      {trail.map(({ id, title, path }) => (
        <Link key={id} href={path}>
          {title}
        </Link>
      ))}
    </nav>
  );
  if (found.kind === "item") {
    return (
      <>
        {breadcrumbs}
        <Article item={found.content} />
      </>
    );
  }
  const { cursor } = await props.searchParams;
  const page = typeof cursor === "string" ? await further(found.section, cursor) : found.content;
  if (page === null) notFound();
  const { title } = found.section;
  return (
    <>
      {breadcrumbs}
      <h1>{title}</h1>
      <Cards items={page.items} display={found.display_type} />
      <Pager address={found.canonical_path} previous={page.previous_cursor} next={page.next_cursor} />
    </>
  );
}
