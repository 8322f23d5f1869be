// A typedoc plugin. A type is best understood where it is used, so every type without an example of its own gets a sentence
// that names the functions and classes with an example that take it or give it. A type that is in none of them, and a function or class
// without an example, is an error.

import { CommentTag, Converter, ReflectionKind as Kind } from "typedoc";

const MOST = 4;
const TYPES = Kind.Interface | Kind.TypeAlias;
const VALUES = Kind.Function | Kind.Class | Kind.Variable;

/** The comments of an export: its own, its signatures', its members'. */
function* comments(reflection) {
  if (reflection.comment) yield reflection.comment;
  for (const signature of reflection.signatures ?? []) if (signature.comment) yield signature.comment;
  if (reflection.getSignature?.comment) yield reflection.getSignature.comment;
  for (const child of reflection.children ?? []) yield* comments(child);
}

function hasExample(reflection) {
  for (const comment of comments(reflection)) if (comment.getTag("@example")) return true;
  return false;
}

/** Every reflection that a declaration names in a type, at any depth. */
function named(reflection) {
  const found = new Set();
  const fromType = (type) => {
    if (!type) return;
    if (type.type === "reference" && type.reflection) found.add(type.reflection);
    for (const inner of [type.elementType, type.target, type.objectType, type.indexType, type.checkType])
      if (inner && typeof inner === "object") fromType(inner);
    for (const inner of [...(type.types ?? []), ...(type.elements ?? []), ...(type.typeArguments ?? [])])
      fromType(inner.element ?? inner);
    if (type.declaration) fromDeclaration(type.declaration);
  };
  const fromDeclaration = (at) => {
    fromType(at.type);
    for (const extended of at.extendedTypes ?? []) fromType(extended);
    for (const part of [...(at.signatures ?? []), ...(at.parameters ?? []), ...(at.children ?? [])])
      fromDeclaration(part);
    if (at.getSignature) fromDeclaration(at.getSignature);
  };
  fromDeclaration(reflection);
  found.delete(reflection);
  return found;
}

/** For every type: the exports with an example that name it, those that do so at once before those that do by way of another type. */
function places(exported) {
  const users = new Map(exported.map((one) => [one, []]));
  for (const one of exported) for (const other of named(one)) users.get(other)?.push(one);
  return (type) => {
    const found = new Set();
    let front = [type];
    const seen = new Set(front);
    while (front.length > 0 && found.size === 0) {
      const next = [];
      for (const one of front) {
        for (const user of users.get(one) ?? []) {
          if (hasExample(user)) found.add(user);
          if (!seen.has(user)) next.push(user);
          seen.add(user);
        }
      }
      front = next;
    }
    return [...found];
  };
}

/** "Used in the examples of A, B and C." */
function sentence(users) {
  const shown = users.slice(0, MOST);
  const parts = shown.flatMap((user, i) => [
    { kind: "text", text: i === 0 ? "Used in the example of " : i === shown.length - 1 ? " and " : ", " },
    { kind: "inline-tag", tag: "@link", text: user.name, target: user },
  ]);
  return [...parts, { kind: "text", text: "." }];
}

function complete(project, logger) {
  const exported = project.getReflectionsByKind(TYPES | VALUES).filter(({ parent }) => parent?.kindOf(Kind.Module));
  const placesOf = places(exported);
  for (const one of exported) {
    if (hasExample(one)) continue;
    const users = placesOf(one);
    if (users.length === 0)
      logger.validationWarning(`${one.getFullName()} has no example, and no export with one names it`);
    // Without a comment of its own it stays without one, so that typedoc says that it is not documented.
    else one.comment?.blockTags.push(new CommentTag("@see", sentence(users)));
  }
}

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => complete(project, app.logger), -1000);
}
