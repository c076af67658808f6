// tools/count-tests.mjs KIND FILE: prints "PASSED FAILED SKIPPED" of one test runner's report.
//
//   meson       meson-logs/testlog.json    a cmocka program counts by its cases, any other test program as one
//   vitest      --reporter=json
//   playwright  --reporter=json
//   plain       a text whose last line of the form "N passed, M failed" (", K skipped" may follow) tells
//
// Exits 1 when the file tells nothing: no report must never read as "nothing failed".
import { readFileSync } from 'node:fs';

const [kind, file] = process.argv.slice(2);
const text = readFileSync(file, 'utf8');
const sum = { passed: 0, failed: 0, skipped: 0 };

function cases(output, word) {
  const pattern = new RegExp(String.raw`^\[ +${word} +\] (?:[^\n]*: )?(\d+) test\(s\)`, 'gm');
  return [...output.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
}

const readers = {
  meson() {
    for (const line of text.split('\n').filter(Boolean)) {
      const test = JSON.parse(line);
      const output = `${test.stdout ?? ''}\n${test.stderr ?? ''}`;
      const passed = cases(output, 'PASSED');
      const failed = cases(output, 'FAILED');
      const skipped = cases(output, 'SKIPPED');
      if (test.result === 'SKIP') {
        sum.skipped += 1;
      } else if (test.result === 'OK' && failed === 0) {
        sum.passed += Math.max(passed, 1);
        sum.skipped += skipped;
      } else {
        // A crash, a sanitizer's report or a time-out after the last case is one more failure than cmocka knows of.
        sum.passed += passed;
        sum.failed += Math.max(failed, 1);
        sum.skipped += skipped;
      }
    }
  },
  vitest() {
    const report = JSON.parse(text);
    sum.passed = report.numPassedTests;
    sum.failed = report.numFailedTests;
    sum.skipped = report.numPendingTests + (report.numTodoTests ?? 0);
    // A file that does not even load has no cases.
    sum.failed += report.testResults.filter(
      (f) => f.status === 'failed' && f.assertionResults.length === 0,
    ).length;
  },
  playwright() {
    const { stats, errors } = JSON.parse(text);
    sum.passed = stats.expected + stats.flaky;
    sum.failed = stats.unexpected + errors.length;
    sum.skipped = stats.skipped;
  },
  plain() {
    const lines = [...text.matchAll(/(\d+) passed, (\d+) failed(?:, (\d+) skipped)?/g)];
    const last = lines.at(-1);
    if (last) {
      sum.passed = Number(last[1]);
      sum.failed = Number(last[2]);
      sum.skipped = Number(last[3] ?? 0);
    }
  },
};

readers[kind]();
const numbers = [sum.passed, sum.failed, sum.skipped];
if (numbers.some((n) => !Number.isInteger(n)) || numbers.every((n) => n === 0)) {
  console.error(`count-tests: ${file} tells of no ${kind} test`);
  process.exit(1);
}
console.log(numbers.join(' '));
