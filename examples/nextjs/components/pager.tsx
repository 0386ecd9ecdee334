import Link from "next/link";

type Props = {
  /** The address without a cursor. */
  address: string;
  previous?: string | null;
  next?: string | null;
};

/** Links to the pages before and after this one. */
export function Pager({ address, previous, next }: Props) {
  const to = (cursor: string) => `${address}${address.includes("?") ? "&" : "?"}cursor=${cursor}`;
  if (!previous && !next) return null;
  return (
    <nav className="pager" aria-label="Pages">
      {previous && (
        <Link href={to(previous)} rel="prev">
          Newer
        </Link>
      )}
      {next && (
        <Link href={to(next)} rel="next">
          Older
        </Link>
      )}
    </nav>
  );
}
