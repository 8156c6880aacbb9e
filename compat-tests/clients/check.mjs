// What the scripts share: collect every difference, print them, end with their number.

import { deepStrictEqual } from 'node:assert';

const wrong = [];

export function expect(what, got, wanted) {
  try {
    deepStrictEqual(got, wanted);
  } catch {
    wrong.push(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  }
}

export async function refused(what, call, start) {
  try {
    const got = await call();
    wrong.push(`${what}: expected an error, got ${JSON.stringify(got)}`);
  } catch (error) {
    if (!String(error.message).startsWith(start)) {
      wrong.push(`${what}: expected an error ${start}…, got ${error.message}`);
    }
  }
}

export function finish() {
  console.log(wrong.join('\n') || 'ok');
  process.exit(Math.min(wrong.length, 100));
}

export function fail(error) {
  console.log(`failed: ${error?.stack ?? error}`);
  process.exit(101);
}
