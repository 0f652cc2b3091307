// A value that must not be printed: every ordinary way of turning it into text gives `[secret]`. Only `reveal` tells.

const inspect = Symbol.for("nodejs.util.inspect.custom");

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toJSON(): string {
    return "[secret]";
  }

  toString(): string {
    return "[secret]";
  }

  [inspect](): string {
    return "[secret]";
  }
}
