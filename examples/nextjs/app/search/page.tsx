import type { Metadata } from "next";
import Link from "next/link";
import { Pager } from "@/components/pager";
import { search } from "@/lib/site";

export const metadata: Metadata = { title: "Search", robots: { index: false } };

type Props = { searchParams: Promise<{ q?: string | string[]; cursor?: string | string[] }> };

export default async function Search({ searchParams }: Props) {
  const { q, cursor } = await searchParams;
  const words = typeof q === "string" ? q : "";
  const found = await search(words, typeof cursor === "string" ? cursor : undefined);
  return (
    <>
      <h1>Search</h1>
      {found === null && <p>Enter a word to find.</p>}
      {found?.items.length === 0 && <p>Nothing has all of these words: {words}</p>}
      <ul className="cards">
        {found?.items.map(({ id, title, path, excerpt }) => (
          <li key={id}>
            <h2>{path === null ? title : <Link href={path}>{title}</Link>}</h2>
            <p>{excerpt.map(({ text, is_match }, n) => (is_match ? <mark key={n}>{text}</mark> : text))}</p>
          </li>
        ))}
      </ul>
      <Pager address={`/search?${new URLSearchParams({ q: words })}`} next={found?.next_cursor} />
    </>
  );
}
