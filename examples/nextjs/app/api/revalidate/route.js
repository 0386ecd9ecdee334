import { revalidateTag } from "next/cache";
import { KINDS } from "../../../lib/turbulence.js";
import { verify } from "../../../lib/webhook.js";

export async function POST(request) {
  const message = verify(process.env.WEBHOOK_SECRET ?? "", request.headers, await request.text());
  if (!message) return Response.json({ error: "the signature is not valid" }, { status: 401 });
  // `webhook.test` has no kind; `site.changed` is about all of them.
  const kinds = message.data.kind ? [message.data.kind] : KINDS;
  for (const kind of kinds) revalidateTag(kind, { expire: 0 });
  return new Response(null, { status: 204 });
}
