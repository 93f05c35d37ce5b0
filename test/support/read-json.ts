// biome-ignore lint/suspicious/noExplicitAny: the test that reads an answer asserts its form.
export function readJson(response: Response): Promise<any> {
  return response.json();
}
