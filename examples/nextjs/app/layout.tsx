import "./style.css";
import type { Metadata } from "next";
import { draftMode } from "next/headers";
import Link from "next/link";
import { connection } from "next/server";
import type { ReactNode } from "react";
import { Menu, footerSections } from "@/components/menu";
import { facts, navigation } from "@/lib/site";

const TITLE = "Turbulence with Next.js";

export async function generateMetadata(): Promise<Metadata> {
  const { title, description, url } = await facts();
  return {
    title: { default: title ?? TITLE, template: `%s – ${title ?? TITLE}` },
    description,
    ...(url ? { metadataBase: new URL(url) } : {}),
  };
}

export default async function Layout({ children }: { children: ReactNode }) {
  // Nothing is rendered by `next build`, so that it needs no gateway.
  await connection();
  const [{ title, language, logo, social_links }, sections] = await Promise.all([facts(), navigation()]);
  const { isEnabled } = await draftMode();
  return (
    <html lang={language ?? "en"}>
      <body>
        {isEnabled && (
          <p className="notice">
            You see drafts. <a href="/api/preview/end">End the preview</a>
          </p>
        )}
        <header>
          <Link href="/" className="title">
            {logo && <img src={logo} alt="" height={32} />}
            {title ?? TITLE}
          </Link>
          <nav aria-label="Sections">
            <Menu sections={sections} />
          </nav>
          <form action="/search" role="search">
            <input type="search" name="q" aria-label="Words" required />
            <button>Search</button>
          </form>
        </header>
        <main>{children}</main>
        <footer>
          {footerSections(sections).map(
            ({ id, title, path }) =>
              path !== null && (
                <Link key={id} href={path}>
                  {title}
                </Link>
              ),
          )}
          {social_links.map(({ name, url }) => (
            <a key={url} href={url} rel="me">
              {name}
            </a>
          ))}
        </footer>
      </body>
    </html>
  );
}
