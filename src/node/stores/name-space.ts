/** Whether it is a valid folder name on every file system. */
export function isAppName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are among what Windows forbids
  return /^(?![. ])[^\u0000-\u001f\u007f/\\:*?"<>|]{1,100}(?<![. ])$/.test(name);
}
