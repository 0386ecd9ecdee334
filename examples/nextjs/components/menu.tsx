import Link from "next/link";
import type { Schemas } from "turbulence-client";

type Node = Schemas["SectionNode"];

/** The sections of the main navigation, with those below them. */
export function Menu({ sections }: { sections: Node[] }) {
  const visible = sections.filter(({ nav_visibility }) => nav_visibility === "main");
  if (visible.length === 0) return null;
  return (
    <ul>
      {visible.map(({ id, title, path, children }) => (
        <li key={id}>
          {path === null ? title : <Link href={path}>{title}</Link>}
          <Menu sections={children} />
        </li>
      ))}
    </ul>
  );
}

/** Returns the sections of the footer, wherever they are in the tree. */
export function footerSections(sections: Node[]): Node[] {
  return sections.flatMap((section) => [
    ...(section.nav_visibility === "footer" ? [section] : []),
    ...footerSections(section.children),
  ]);
}
