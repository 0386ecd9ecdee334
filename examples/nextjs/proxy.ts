import { type NextRequest, NextResponse } from "next/server";

/** Passes on what Turbulence makes for the whole site. Its address is read at each request. */
export function proxy({ nextUrl }: NextRequest) {
  const gateway = process.env.TURBULENCE_URL ?? "http://127.0.0.1:5001";
  return NextResponse.rewrite(new URL(nextUrl.pathname + nextUrl.search, gateway));
}

export const config = { matcher: ["/sitemap.xml", "/robots.txt", "/feeds/:path*", "/uploads/:path*"] };
