// Octets held in the order of their arrival. Whoever sends them one by one must not make them cost a hundred times their
// size: every piece has its own overhead, so there are never many.

export class Pieces {
  #pieces: Buffer[] = [];
  #octets = 0;

  get octets(): number {
    return this.#octets;
  }

  push(piece: Buffer): void {
    this.#octets += piece.length;
    if (this.#pieces.push(piece) > MAX_PIECES) this.#pieces = [Buffer.concat(this.#pieces, this.#octets)];
  }

  /** All of it as one; nothing is held after that. */
  take(): Buffer {
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#octets);
    this.#pieces = [];
    this.#octets = 0;
    return all;
  }
}

const MAX_PIECES = 64;
