const LABEL = /\{\{-?\s*\$labels\.(\w+)\s*-?\}\}/g;
const OTHER = /\{\{.*?\}\}/gs;

/** A template as a sentence for who looks over many rules: labels by their names, and for what is computed a gap. */
export function readableTemplate(text: string): string {
  return text.replace(LABEL, '‹$1›').replace(OTHER, '…');
}

export function isTemplate(text: string): boolean {
  return text.includes('{{');
}
