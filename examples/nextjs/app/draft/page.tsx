import type { Metadata } from "next";
import { cookies, draftMode } from "next/headers";
import { notFound } from "next/navigation";
import { Article } from "@/components/item";
import { preview } from "@/lib/site";

export const metadata: Metadata = { title: "Draft", robots: { index: false }, referrer: "no-referrer" };

/** The item of the preview link that this browser has opened, as it is now. */
export default async function Draft() {
  const { isEnabled } = await draftMode();
  const token = (await cookies()).get("preview")?.value;
  const found = isEnabled && token ? await preview(token) : null;
  if (!found) notFound();
  return <Article item={found.item} />;
}
