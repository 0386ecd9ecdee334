import { cookies, draftMode } from "next/headers";
import { notFound } from "next/navigation";
import { preview } from "../../lib/turbulence.js";

export const metadata = { robots: { index: false }, referrer: "no-referrer" };

/** The item of the preview link that this browser has opened, as it is now. */
export default async function Draft() {
  const { isEnabled } = await draftMode();
  const token = (await cookies()).get("preview")?.value;
  const found = isEnabled && token ? await preview(token) : null;
  if (!found) notFound();
  return (
    <article>
      <h1>{found.item.title}</h1>
      {/* The HTML of Turbulence is sanitised. */}
      <div dangerouslySetInnerHTML={{ __html: found.item.content }} />
    </article>
  );
}
