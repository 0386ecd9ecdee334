// Messages of webhooks (Standard Webhooks, "Verifying webhook authenticity").

import type { Change, Schemas } from "./types.js";

/** The largest age of a message in seconds. */
const TOLERANCE_SECONDS = 5 * 60;

/** A message about a change. */
export interface ChangeMessage {
  type: `${Schemas["PublicKind"] | "site"}.${Schemas["PublicEvent"]}`;
  timestamp: string;
  data: Omit<Change, "cursor" | "time">;
}

/** A message that `POST /webhooks/{id}/test` sends. */
export interface TestMessage {
  type: "webhook.test";
  timestamp: string;
  data: { webhook_id: string };
}

export type WebhookMessage = ChangeMessage | TestMessage;

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}

/**
 * Returns the message of a request to a webhook, or `null` if its signature is not valid or the message
 * is old. `body` is the text of the request, byte for byte.
 */
export async function verifyWebhook(
  secret: string,
  headers: { get(name: string): string | null },
  body: string,
): Promise<WebhookMessage | null> {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp");
  const signatures = headers.get("webhook-signature");
  const bytes = bytesOf(secret.replace(/^whsec_/, ""));
  if (!id || !timestamp || !signatures || !bytes?.length) return null;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS)) return null;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["verify"]);
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  // There are two for a day after the secret was replaced.
  for (const one of signatures.split(" ")) {
    const [version, base64 = ""] = one.split(",", 2);
    const signature = version === "v1" ? bytesOf(base64) : null;
    // Compares in constant time.
    if (signature && (await crypto.subtle.verify("HMAC", key, signature, signed))) {
      return JSON.parse(body) as WebhookMessage;
    }
  }
  return null;
}
