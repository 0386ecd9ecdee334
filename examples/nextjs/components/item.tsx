import type { Schemas } from "turbulence-client";

type Item = Schemas["Story"] | Schemas["Project"] | Schemas["Page"];

/** A date for people. The server and the browser show the same one. */
export function Day({ date }: { date: string | null }) {
  if (date === null) return null;
  const text = new Date(date).toLocaleDateString("en", { dateStyle: "long", timeZone: "UTC" });
  return <time dateTime={date}>{text}</time>;
}

/** A story, a project or a page. */
export function Article({ item }: { item: Item }) {
  const isDated = !("page_type" in item);
  return (
    <article>
      <h1>{item.title}</h1>
      {isDated && (
        <p className="facts">
          <Day date={item.date ?? item.createdDate} />
          {item.author && <span>{item.author.name}</span>}
          {item.tags.map((tag) => (
            <span key={tag}>#{tag}</span>
          ))}
        </p>
      )}
      {"summary" in item && item.summary && <p className="summary">{item.summary}</p>}
      {/* The HTML of Turbulence is sanitised. */}
      <div className="text" dangerouslySetInnerHTML={{ __html: item.content }} />
    </article>
  );
}
