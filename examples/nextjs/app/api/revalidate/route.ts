import { revalidateTag } from "next/cache";
import { verifyWebhook } from "turbulence-client";
import { KINDS } from "@/lib/site";

/** Receives the messages of a webhook, and invalidates the answers that depend on what has changed. */
export async function POST(request: Request) {
  const secret = process.env.WEBHOOK_SECRET ?? "";
  const message = await verifyWebhook(secret, request.headers, await request.text());
  if (message === null) return Response.json({ error: "the signature is not valid" }, { status: 401 });
  if (message.type !== "webhook.test") {
    // `site.changed` has no kind: it is about all of them.
    const kinds = message.data.kind ? [message.data.kind] : KINDS;
    for (const kind of kinds) revalidateTag(kind, { expire: 0 });
  }
  return new Response(null, { status: 204 });
}
