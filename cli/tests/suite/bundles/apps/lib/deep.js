// Throws from further down.
export function deep(what) {
  const nested = () => { throw new Error(`from ${what}`); };

  nested();
}
