import { cookies, draftMode } from "next/headers";
import { redirect } from "next/navigation";

/** Turns off draft mode for this browser. */
export async function GET() {
  (await draftMode()).disable();
  (await cookies()).delete("preview");
  redirect("/");
}
