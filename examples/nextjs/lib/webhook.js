import { createHmac, timingSafeEqual } from "node:crypto";

/** The largest age of a message in seconds (Standard Webhooks, "Verifying webhook authenticity"). */
const TOLERANCE_SECONDS = 5 * 60;

/**
 * Returns the message of a request, or `null` if its signature is not valid. `body` is the text of the
 * request, byte for byte.
 */
export function verify(secret, headers, body) {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp");
  const signatures = headers.get("webhook-signature");
  if (!id || !timestamp || !signatures) return null;
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!(age <= TOLERANCE_SECONDS)) return null;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest();
  // There are two for a day after the secret was replaced.
  const isValid = signatures.split(" ").some((one) => {
    const [version, signature] = one.split(",", 2);
    const given = Buffer.from(signature ?? "", "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
  return isValid ? JSON.parse(body) : null;
}
