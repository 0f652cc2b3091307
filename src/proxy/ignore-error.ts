/** For 'error' of a socket, which must be heard: 'close' follows it and tells the rest. */
export function ignoreError(): void {}
