/**
 * What a request asks for, from its target: clients of proxies send whole URLs, and a server has to take them
 * (https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2). Everything else is left as it is.
 */
export function originForm(target: string): string {
  if (target.startsWith("/")) return target;
  const origin = /^https?:\/\/[^/?#]+/i.exec(target);
  if (origin === null) return target;
  const rest = target.slice(origin[0].length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}
