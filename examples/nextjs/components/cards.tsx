import Link from "next/link";
import type { Schemas } from "turbulence-client";
import { Day } from "./item";

type Card = Schemas["Story"] | Schemas["ProjectCard"] | Schemas["Page"];

/** The items of a section as its `display_type` says. */
export function Cards({ items, display }: { items: Card[]; display: Schemas["DisplayType"] }) {
  return (
    <ul className={display === "card-grid" ? "cards grid" : "cards"}>
      {items.map((item) => (
        <li key={item.id}>
          <h2>{item.path === null ? item.title : <Link href={item.path}>{item.title}</Link>}</h2>
          <p className="facts">
            <Day date={item.date ?? item.createdDate} />
            {item.tags.map((tag) => (
              <span key={tag}>#{tag}</span>
            ))}
          </p>
          {"summary" in item && item.summary && <p>{item.summary}</p>}
        </li>
      ))}
    </ul>
  );
}
