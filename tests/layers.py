"""Layers: the imports of a package, read from its syntax trees -> every one that breaks a rule.

Enters: the folder of a package and a table of its layers. Leaves: complaints, one a line. Imports
count wherever they stand: at the top, in a function, under a condition or for types alone.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Layer = Sequence[str]
"""Rooms of one layer. A room is a module, or a folder with all modules in it; paths from the
package with dots. Modules of a folder may import one another, but in no circle."""


def check(
    folder: Path,
    layers: Sequence[Layer],
    *,
    allowed: Mapping[tuple[str, str], str],
    heavy: Mapping[str, str],
) -> list[str]:
    """Return every complaint about a package.

    `allowed` gives a reason for each import, as (importer, imported) room, between two rooms of
    one layer. `heavy` maps a package to the one room that may import it. Of another folder at the
    top of the package, or of a folder in it, a module imports what the door lists: the `__all__`
    of its `__init__`.
    """
    modules = _modules(folder)
    level_by_room = {room: level for level, layer in enumerate(layers) for room in layer}
    complaints = [
        f"{module}: is in no layer"
        for module in sorted(modules)
        if _room(module, level_by_room) is None
    ]
    rooms = {_room(module, level_by_room) for module in modules}
    gone = [room for room in level_by_room if room not in rooms]
    complaints += [f"{room}: is in a layer, but there is none" for room in gone]
    used: set[tuple[str, str]] = set()
    inner: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in sorted(modules.items()):
        for name, line in _imports(path, folder, module):
            where = f"{path.relative_to(folder.parent)}:{line}"
            top = name.partition(".")[0]
            if top != folder.name:
                home = heavy.get(top)
                if home is not None and _room(module, {home: 0}) is None:
                    complaints.append(f"{where}: imports {top}, which only {home} may")
                continue
            target = _resolve(name, folder.name, modules)
            importer, imported = _room(module, level_by_room), _room(target, level_by_room)
            if importer is None or imported is None:
                continue
            if target != module:
                inner[module].add(target)
            if _passes_a_door(module, target, modules):
                complaints.append(f"{where}: imports {target}, which its door does not list")
            if importer == imported:
                continue
            if (importer, imported) in allowed:
                used.add((importer, imported))
            elif level_by_room[imported] > level_by_room[importer]:
                complaints.append(f"{where}: {importer} imports {imported}, which is above it")
            elif level_by_room[imported] == level_by_room[importer]:
                complaints.append(f"{where}: {importer} imports {imported}, which is beside it")
    idle = [pair for pair in allowed if pair not in used]
    complaints += [f"{one} -> {other}: is allowed, but not done" for one, other in idle]
    return complaints + _circles(inner)


def _passes_a_door(importer: str, target: str, modules: Mapping[str, Path]) -> bool:
    """Tell whether a module imports a file of another top folder that its door does not list."""
    folder, _, name = target.rpartition(".")
    if not folder or importer.partition(".")[0] == target.partition(".")[0]:
        return False
    return modules[target].name != "__init__.py" and name not in _public_names(modules[folder])


def _public_names(door: Path) -> set[str]:
    """Return the `__all__` of a folder's `__init__`; where there is none, it lists nothing."""
    for node in ast.parse(door.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _modules(folder: Path) -> dict[str, Path]:
    """Return every module by its path from the package; a folder's own code is the folder."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def _room(module: str, rooms: Mapping[str, int]) -> str | None:
    """Return the room that a module is, or lies in."""
    while module:
        if module in rooms:
            return module
        module = module.rpartition(".")[0]
    return None


def _imports(path: Path, folder: Path, module: str) -> Iterator[tuple[str, int]]:
    """Yield the full name of everything that a file imports, and the line."""
    package = path.relative_to(folder.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{start}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _called_import(node)


def _called_import(node: ast.Call) -> Iterator[tuple[str, int]]:
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if name in ("import_module", "__import__") and node.args:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value, node.lineno


def _resolve(name: str, package: str, modules: Mapping[str, Path]) -> str:
    """Return the module that holds an imported name."""
    inside = name.removeprefix(package).removeprefix(".")
    while inside and inside not in modules:
        inside = inside.rpartition(".")[0]
    return inside or "__init__"


def _circles(imports: Mapping[str, set[str]]) -> list[str]:
    """Return a complaint for each module that is part of a circle."""
    left = {module: set(targets) for module, targets in imports.items()}
    while True:
        leaves = [module for module, targets in left.items() if not targets & left.keys()]
        if not leaves:
            break
        for module in leaves:
            del left[module]
    # What is left imports a circle or is in one; those that none imports only lead to it.
    while True:
        wanted = set().union(*left.values()) if left else set()
        outer = [module for module in left if module not in wanted]
        if not outer:
            return [f"{module}: imports itself in a circle" for module in sorted(left)]
        for module in outer:
            del left[module]
