import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// `npm run dev` shows the pages against a running server: APIARY_URL=http://127.0.0.1:8484 npm run dev
const server = process.env['APIARY_URL'] ?? 'http://127.0.0.1:8484';

export default defineConfig({
  plugins: [react()],
  base: './', // the server may be shown below a path: index.html is told which, all else is relative to itself
  server: { proxy: { '/api': server, '/events': server, '/-': server } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  test: { include: ['src/**/*.test.ts'] },
});
