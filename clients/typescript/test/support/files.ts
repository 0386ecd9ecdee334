// Files that media-service accepts.

/** A PNG of one pixel. */
export const picture = Uint8Array.from(
  Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  ),
);

/** Returns an MP4 of this size: a head, and a part that players skip. */
export function film(bytes: number): Uint8Array<ArrayBuffer> {
  const brand = Buffer.from("isom\0\0\x02\0isomiso2mp41", "latin1");
  const box = (type: string, body: Buffer) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(8 + body.length);
    return Buffer.concat([size, Buffer.from(type), body]);
  };
  const head = box("ftyp", brand);
  return Uint8Array.from(Buffer.concat([head, box("mdat", Buffer.alloc(bytes - head.length - 8))]));
}
