import { cookies, draftMode } from "next/headers";
import { redirect } from "next/navigation";
import { preview } from "@/lib/site";

/** Opens a preview link: turns on draft mode for this browser, and shows the item. */
export async function GET(request: Request) {
  const token = new URL(request.url).searchParams.get("token") ?? "";
  const found = await preview(token);
  if (!found) return new Response("This link does not work any more. Ask for a new one.", { status: 404 });
  (await draftMode()).enable();
  const expires = new Date(found.expires_at);
  (await cookies()).set("preview", token, { httpOnly: true, sameSite: "lax", expires });
  redirect("/draft");
}
