import Link from "next/link";
import type { Schemas } from "turbulence-client";

type Node = Schemas["SectionNode"];

/** The sections of the main navigation, with those below them. */
export function Menu({ sections }: { sections: Node[] }) {
  const visible = sections.filter(({ nav_visibility }) => nav_visibility === "main");
  if (visible.length === 0) return null;
  return (
    <ul>
      {visible.map((section) => (
        <li key={section.id}>
          <Entry section={section} />
          <Menu sections={section.children} />
        </li>
      ))}
    </ul>
  );
}

/** A section, or a link to an address or to another section. */
export function Entry({ section: { title, path, url, opens_new_tab } }: { section: Node }) {
  const address = path ?? url;
  if (address === null) return title;
  const target = opens_new_tab ? { target: "_blank", rel: "noopener" } : {};
  return (
    <Link href={address} {...target}>
      {title}
    </Link>
  );
}

/** Returns the sections of the footer, wherever they are in the tree. */
export function footerSections(sections: Node[]): Node[] {
  return sections.flatMap((section) => [
    ...(section.nav_visibility === "footer" ? [section] : []),
    ...footerSections(section.children),
  ]);
}
