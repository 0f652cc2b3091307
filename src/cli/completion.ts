// Shell completions, written from commander's own tree, so that they know exactly what the commands know.

import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** One command of the tree: what may follow it. */
type Node = {
  /** Names from the program down, the program's own left out: `ca show`. */
  readonly path: string;
  readonly commands: readonly { name: string; about: string }[];
  readonly options: readonly Flag[];
  /** Values of its first argument, where they are a closed set. */
  readonly choices: readonly string[];
};

type Flag = {
  readonly names: readonly string[];
  readonly about: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
};

export function completionScript(shell: Shell, program: Command): string {
  const nodes = walk(program, []);
  switch (shell) {
    case "bash":
      return bash(nodes);
    case "zsh":
      return zsh(nodes);
    case "fish":
      return fish(nodes);
  }
}

function walk(command: Command, above: readonly Flag[], path: readonly string[] = []): Node[] {
  const help = command.createHelp();
  // Options of the commands above are understood below; --version is the program's alone.
  const inherited = [...above, ...command.options.filter((option) => option.long !== "--version").map(flag)];
  const node: Node = {
    path: path.join(" "),
    commands: help
      .visibleCommands(command)
      .map((child) => ({ name: child.name(), about: child.summary() || child.description() })),
    options: dedupe([...above, ...help.visibleOptions(command).map(flag)]),
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [node, ...command.commands.flatMap((child) => walk(child, inherited, [...path, child.name()]))];
}

function flag(option: Option): Flag {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined),
    about: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

function dedupe(flags: readonly Flag[]): Flag[] {
  return [...new Map(flags.map((one) => [one.names.join(" "), one])).values()];
}

function bash(nodes: readonly Node[]): string {
  const down = nodes.flatMap(({ path, commands }) =>
    commands.map(({ name }) => `      '${path} ${name}') path='${join(path, name)}' ;;`),
  );
  const values = valueCases(nodes, (words) => `COMPREPLY=($(compgen -W '${words.join(" ")}' -- "$cur"))`);
  const words = nodes.map(({ path, commands, options, choices }) => {
    const all = [...commands.map(({ name }) => name), ...choices, ...options.flatMap(({ names }) => names)];
    return `    '${path}') COMPREPLY=($(compgen -W '${all.join(" ")}' -- "$cur")) ;;`;
  });
  return `# bash completion for sallyport: eval "$(sallyport completion bash)"
_sallyport() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
${down.join("\n")}
    esac
  done
  case "$path $prev" in
${values.join("\n")}
  esac
  case "$path" in
${words.join("\n")}
  esac
}
complete -o default -F _sallyport sallyport
`;
}

function zsh(nodes: readonly Node[]): string {
  const down = nodes.flatMap(({ path, commands }) =>
    commands.map(({ name }) => `      '${path} ${name}') path_='${join(path, name)}' ;;`),
  );
  const values = valueCases(nodes, (words) => `compadd -- ${words.join(" ")}`, "_files");
  const words = nodes.map(({ path, commands, options, choices }) => {
    const described = [
      ...commands.map(({ name, about }) => quoted(`${name}:${about}`)),
      ...choices.map((choice) => quoted(choice)),
      ...options.flatMap(({ names, about }) => names.map((name) => quoted(`${name}:${about}`))),
    ];
    return `    '${path}') words_=(${described.join(" ")}) ;;`;
  });
  return `#compdef sallyport
# zsh completion for sallyport: eval "$(sallyport completion zsh)", after compinit
_sallyport() {
  local path_='' i
  local -a words_
  for ((i = 2; i < CURRENT; i++)); do
    case "$path_ \${words[i]}" in
${down.join("\n")}
    esac
  done
  case "$path_ \${words[CURRENT-1]}" in
${values.join("\n")}
  esac
  case "$path_" in
${words.join("\n")}
  esac
  _describe 'sallyport' words_
  [[ \${words[CURRENT]} == -* ]] || _files
}
compdef _sallyport sallyport
`;
}

function fish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, commands, options, choices }) => {
    const here = `complete -c sallyport -n ${quoted(`test "$(__sallyport_path)" = "${path}"`)}`;
    return [
      ...commands.map(({ name, about }) => `${here} -f -a ${name} -d ${quoted(about)}`),
      ...(choices.length === 0 ? [] : [`${here} -f -a ${quoted(choices.join(" "))}`]),
      ...options.map(({ names, about, takesValue, choices: values }) =>
        [
          here,
          ...names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`)),
          ...(takesValue ? ["-r"] : []),
          ...(values.length === 0 ? [] : [`-f -a ${quoted(values.join(" "))}`]),
          `-d ${quoted(about)}`,
        ].join(" "),
      ),
    ];
  });
  const down = nodes.flatMap(({ path, commands }) =>
    commands.map(
      ({ name }) => `      case ${quoted(`${path} ${name}`)}\n        set path ${quoted(join(path, name))}`,
    ),
  );
  return `# fish completion for sallyport: sallyport completion fish | source
function __sallyport_path
  set -l path ''
  for word in (commandline -opc)[2..]
    switch "$path $word"
${down.join("\n")}
    end
  end
  echo "$path"
end
${lines.join("\n")}
`;
}

/** After an option that takes a value: its choices, or whatever the shell makes of file names. */
function valueCases(
  nodes: readonly Node[],
  offer: (words: readonly string[]) => string,
  files = "",
): string[] {
  return nodes.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(({ names, choices }) => {
        const patterns = names.map((name) => `'${path} ${name}'`).join(" | ");
        const body = choices.length > 0 ? offer(choices) : files;
        return `    ${patterns}) ${body === "" ? "" : `${body}; `}return ;;`;
      }),
  );
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path} ${name}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
