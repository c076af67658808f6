/**
 * Where the server's addresses begin: "/", or "/apiary/" where it is shown below a path. The server writes it into the
 * page (src/api/pages.c); `npm run dev` leaves "./".
 */
export function basePath(): string {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="apiary-base"]');
  return meta?.content.startsWith('/') === true ? meta.content : '/';
}

/** "/api/v1/query" → "/apiary/api/v1/query" */
export function addressOf(path: string): string {
  return basePath() + path.replace(/^\//, '');
}
