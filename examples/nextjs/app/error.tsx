"use client";

/** Shown if the gateway does not answer and nothing was kept. */
export default function Failed({ reset }: { reset: () => void }) {
  return (
    <>
      <h1>The page cannot be shown</h1>
      <button onClick={reset}>Try again</button>
    </>
  );
}
