// Whose DNS question is asked next: askers take turns and none holds more than a share of what may be in flight, so that
// one sandbox's flood of stuck names leaves room for everybody else.

export type TurnsOptions = {
  /** Questions in flight, of all askers together. */
  readonly concurrency: number;
  /** Of these, one asker's. */
  readonly share: number;
  /** Questions that one asker may have waiting. */
  readonly queue: number;
};

/** Something to be done once, whichever asker's turn comes first. */
export type Task = { readonly run: () => Promise<void> };

export type Turns = {
  /** `false`: this asker's queue is full. A task may wait in several askers' queues. */
  add(asker: string, task: Task): boolean;
  /** The task is not wanted any more; it leaves every queue. One that runs already is not stopped. */
  drop(task: Task): void;
};

export function createTurns({ concurrency, share, queue }: TurnsOptions): Turns {
  // Insertion order is the order of turns.
  const waiting = new Map<string, Set<Task>>();
  const running = new Map<string, number>();
  let inFlight = 0;

  const pump = () => {
    for (let turn = take(); turn !== undefined; turn = take()) void start(turn.asker, turn.task);
  };
  const take = (): { asker: string; task: Task } | undefined => {
    if (inFlight >= concurrency) return undefined;
    for (const [asker, tasks] of waiting) {
      const [task] = tasks;
      if (task === undefined || (running.get(asker) ?? 0) >= share) continue;
      // To the end of the line.
      waiting.delete(asker);
      waiting.set(asker, tasks);
      drop(task);
      return { asker, task };
    }
    return undefined;
  };
  const start = async (asker: string, task: Task) => {
    inFlight += 1;
    running.set(asker, (running.get(asker) ?? 0) + 1);
    await task.run();
    inFlight -= 1;
    const left = (running.get(asker) ?? 1) - 1;
    if (left > 0) running.set(asker, left);
    else running.delete(asker);
    pump();
  };
  const drop = (task: Task) => {
    for (const [asker, tasks] of waiting) {
      tasks.delete(task);
      if (tasks.size === 0) waiting.delete(asker);
    }
  };
  return {
    add: (asker, task) => {
      const tasks = waiting.get(asker) ?? new Set();
      if (tasks.size >= queue && !tasks.has(task)) return false;
      waiting.set(asker, tasks.add(task));
      pump();
      return true;
    },
    drop,
  };
}
