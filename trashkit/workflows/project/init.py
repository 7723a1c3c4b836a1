"""Write the project file of a folder: which file plays which role, and what has to be made first."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from trashkit.coco import Coco, merge, read, write
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_info
from trashkit.interop.registry import import_annotations
from trashkit.names import composed, quoted
from trashkit.outputs import Output, write_text
from trashkit.progress import Progress, silent
from trashkit.settings.project import FILE_NAME, VERSION
from trashkit.workflows.project.derived import mark
from trashkit.workflows.project.listing import CocoFile, Found, Listing, label_maps, list_folder, recognise


@dataclass(frozen=True)
class Roles:
    """Roles that the user named; None for what is to be found. Paths as typed."""

    data: Path | None = None
    images: Path | None = None
    test: Path | None = None
    sample: Path | None = None
    classes: str | None = None


@dataclass(frozen=True)
class File:
    """A file of the folder: its role in the project ("" for none), and what it is."""

    path: str
    role: str
    about: str


@dataclass
class MadeProject:
    """Result of `init_project`.

    path: the project file. values: its keys and values. files: what each file was taken for. made: data files that were
    written. notes: one line each.
    """

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def init_project(
    folder: Path, roles: Roles | None = None, *, overwrite: bool = False, progress: Progress = silent
) -> MadeProject:
    """Find the roles of a folder's files, and write trashkit.toml there.

    Labels of other tools are imported as COCO. Where several parts of a data set have labels, those of training and
    validation are joined. Photos without labels are listed in a COCO file of their own, which becomes the test set.
    Such files are written next to trashkit.toml, all or none, and made anew by later calls until somebody edits them.
    overwrite: replace an existing trashkit.toml, and such files.

    Raises TrashkitError for a folder without photos or labels, and where two files could play one role.
    """
    roles = roles or Roles()
    if not folder.is_dir():
        raise TrashkitError(f"{folder} is not a folder", hint="trashkit init DIR takes the folder of the photos")
    path = folder / FILE_NAME
    Output(path, overwrite=overwrite).check()
    listing = list_folder(folder)
    if not listing.photos and roles.images is None:
        raise TrashkitError(f"{folder} has no photos", hint="name the folder of the data set: trashkit init DIR")
    return _Init(listing, recognise(listing), roles, MadeProject(path), progress).run(overwrite)


class _Init:
    """One run of `init_project`: roles found so far, and files to be written."""

    def __init__(self, listing: Listing, found: Found, roles: Roles, made: MadeProject, progress: Progress) -> None:
        self.listing, self.found, self.roles, self.made, self.progress = listing, found, roles, made, progress
        self.new: dict[str, Coco] = {}

    def run(self, overwrite: bool) -> MadeProject:
        self._find_roots()
        data, test = self._data(), self._test()
        coco, root = self._labels(data, test)
        if "test" not in self.made.values:
            self._unlabelled(coco, root)
        self._sample()
        if self.roles.classes is not None:
            self.made.values["classes"] = self._relative(self.roles.classes)
        self._report_others()
        earlier = {str(one.path): one.coco for one in self.found.earlier}
        changed = {name: one for name, one in self.new.items() if name not in earlier or not _same(one, earlier[name])}
        for name in changed:
            Output(self.listing.folder / name, overwrite=overwrite and name in earlier).check()
        for name, one in changed.items():
            write(one, self.listing.folder / name, overwrite=overwrite and name in earlier)
            self.made.made.append(self.listing.folder / name)
        write_text(self.made.path, _text(self.made, coco), overwrite=overwrite)
        return self.made

    # --- labels ------------------------------------------------------------------------------------------------------

    def _find_roots(self) -> None:
        for role in (self.roles.data, self.roles.test):
            if role is not None and not any(self._is(one, role) for one in self.found.cocos):
                self.found.cocos.append(CocoFile(PurePosixPath(self._relative(role)), read(role)))
        given = self.roles.images
        if given is not None and not given.is_dir():
            raise TrashkitError(f"{given} is not a folder", hint="give the folder of the photos as --images")
        for one in self.found.cocos:
            one.root = self.listing.root(one.names, one.path) if given is None else PurePosixPath(self._relative(given))

    def _data(self) -> list[CocoFile]:
        """The labelled files of training and validation; none where labels must be imported."""
        if self.roles.data is not None:
            return [one for one in self.found.cocos if self._is(one, self.roles.data)]
        labelled = [one for one in self.found.cocos if one.labelled and not self._is(one, self.roles.test)]
        labelled = [one for one in labelled if one.part != "test"] or labelled
        for part in ("train", "valid"):
            same = [one for one in labelled if one.part == part]
            if len(same) > 1:
                raise self._ambiguous("labels to train on", "--data", [one.path for one in same])
        if labelled and all(one.root is None for one in labelled):
            raise TrashkitError(
                f"the photos of {labelled[0].path} are not in {self.listing.folder}",
                hint="name their folder with --images DIR",
            )
        return [one for one in labelled if one.root is not None]

    def _test(self) -> CocoFile | None:
        if self.roles.test is not None:
            return next(one for one in self.found.cocos if self._is(one, self.roles.test))
        rest = [one for one in self.found.cocos if not self._is(one, self.roles.data)]
        others = [one for one in rest if one.part == "test"] or [one for one in rest if not one.labelled]
        if len(others) > 1:
            raise self._ambiguous("the test photos", "--test", [one.path for one in others])
        return others[0] if others else None

    def _labels(self, data: list[CocoFile], test: CocoFile | None) -> tuple[Coco, PurePosixPath]:
        """The labels and the folder of their photos; sets the values data, images and test."""
        if not data:
            return self._imported()
        given = self.roles.images
        if given is not None and not any((given / name).is_file() for name in data[0].names):
            raise TrashkitError(f"none of the photos of {data[0].path} is in {given}", hint="check --images")
        used = [one for one in (*data, test) if one is not None and one.root is not None]
        roots = {one.root or PurePosixPath() for one in used}
        root = roots.pop() if len(roots) == 1 else PurePosixPath(os.path.commonpath([f"/{one}" for one in roots])[1:])
        coco = self._file("data", data, root, "train.json")
        self.made.values["images"] = str(root)
        if test is not None and test not in data:
            if test.root is None:
                self.made.notes.append(f"{test.path} is not used: its photos are not in {self.listing.folder}")
            else:
                self._file("test", [test], root, "test.json")
        return coco, root

    def _file(self, role: str, files: Sequence[CocoFile], root: PurePosixPath, name: str) -> Coco:
        """One file for a role: the file itself, or a new one with all rows and file names relative to `root`."""
        for one in files:
            joined = " (joined)" if len(files) > 1 else ""
            self.made.files.append(File(str(one.path), role + joined, one.about))
        if len(files) == 1 and files[0].root == root:
            self.made.values[role] = str(files[0].path)
            return files[0].coco
        prefixes = [_prefix(one.root or root, root) for one in files]
        if len(files) == 1:  # as it is, damaged rows included
            coco = _prefixed(files[0].coco, prefixes[0])
        else:
            coco = merge([one.coco for one in files], prefixes=prefixes)
        sources = [str(one.path) for one in files]
        self._add(role, name, coco, f"made of {' and '.join(sources)}", sources)
        return coco

    def _imported(self) -> tuple[Coco, PurePosixPath]:
        """Labels of another tool as COCO."""
        foreign, folder = self.found.foreign, self.listing.folder
        maps = label_maps(self.listing) if {kind for kind, _ in foreign} <= {"voc", "huggingface"} else None
        if maps is not None:
            raise self._label_maps(*maps)
        if not foreign:
            seen = [reason if str(path) in reason else f"{path}: {reason}" for path, reason in self.found.unknown[:3]]
            raise TrashkitError(
                f"{folder} has {len(self.listing.photos)} photos, but no labels that are known"
                f"{': ' if seen else ''}{'; '.join(seen)}",
                hint="name a COCO file with --data FILE; trashkit data import --help lists other formats",
            )
        if len(foreign) > 1:
            shown = "; ".join(
                f"trashkit data import {kind} {quoted(str(folder / p))} --out train.json" for kind, p in foreign[:5]
            )
            raise TrashkitError(
                f"{folder} has labels in {len(foreign)} forms or files", hint=f"import one of them: {shown}"
            )
        kind, source = foreign[0]
        root = PurePosixPath(os.path.commonpath([f"/{one.parent}" for one in self.listing.photos])[1:])
        if self.roles.images is not None:
            root = PurePosixPath(self._relative(self.roles.images))
        names = str(folder / self.found.names[0]) if kind == "yolo" and self.found.names else None
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary) / "train.json"
            done = import_annotations(
                kind, folder / source, out, images=folder / root, names=names, restore=False, progress=self.progress
            )
            coco = read(out)
        self.made.notes += done.notes
        self.made.files.append(
            File(str(source), "data", f"{kind}: {done.images} images, {done.annotations} annotations")
        )
        coco, rest = self._without_labels(coco, root)
        self._add("data", "train.json", coco, f"imported from {source}", [str(source)])
        self.made.values["images"] = str(root)
        if rest is not None:
            self._add("test", "test.json", rest, "the photos without labels", [str(source)])
        return coco, root

    def _label_maps(self, kind: str, source: PurePosixPath) -> TrashkitError:
        """An error that says how to import label maps: they are PNG files like photos, and may need class names."""
        folder = self.listing.folder
        words = ["trashkit", "data", "import", kind, str(folder / source), "--out", str(folder / "train.json")]
        return TrashkitError(
            f"{folder} has label maps (PNG files), which must be imported first",
            hint=f"{' '.join(map(quoted, words))}; then run trashkit init again",
        )

    def _without_labels(self, coco: Coco, root: PurePosixPath) -> tuple[Coco, Coco | None]:
        """Split off the images without labels, if all photos are listed: other tools list those not yet annotated."""
        labelled = {one.get("image_id") for one in coco.records("annotations")}
        rows = [row for row, one in enumerate(coco.records("images")) if one.get("id") not in labelled]
        if not rows or len(rows) == coco.count("images") or self._photos_beside(coco, root):
            return coco, None
        self.made.notes.append(
            f"{len(rows)} images without labels are taken for photos to predict; if they are photos without objects, "
            "import the file with trashkit data import"
        )
        left = set(rows)
        return coco.subset(row for row in range(coco.count("images")) if row not in left), coco.subset(rows)

    # --- photos without labels, sample, the rest ----------------------------------------------------------------------

    def _photos_beside(self, coco: Coco, root: PurePosixPath) -> list[PurePosixPath]:
        """Photos below `root` that the file does not list, relative to `root`."""
        known = {composed(str(one.get("file_name"))) for one in coco.records("images") if isinstance(one, dict)}
        below = [one.relative_to(root) for one in self.listing.photos if one.is_relative_to(root)]
        return [one for one in below if composed(str(one)) not in known]

    def _unlabelled(self, coco: Coco, root: PurePosixPath) -> None:
        """A test set of the photos without labels, if there are any."""
        photos = self._photos_beside(coco, root)
        rows: list[dict[str, Any]] = []
        for done, name in enumerate(photos):
            try:
                width, height = photo_info(self.listing.folder / root / name).oriented_size
            except TrashkitError as error:
                self.made.notes.append(f"skipped: {error.message}")
                continue
            rows.append({"id": len(rows) + 1, "file_name": str(name), "width": width, "height": height})
            self.progress("reading photos", done + 1, len(photos))
        if rows:
            whole = {"images": rows, "annotations": [], "categories": coco.records("categories")}
            self._add("test", "test.json", Coco.of(whole), "the photos without labels", [])

    def _sample(self) -> None:
        samples = self.found.samples
        if self.roles.sample is not None:
            self.made.values["sample"] = self._relative(self.roles.sample)
            return
        if len(samples) > 1:
            likely = [one for one in samples if "sample" in one.name.lower()]
            if len(likely) != 1:
                raise self._ambiguous("the sample submission", "--sample", samples)
            samples = likely
        if samples and "test" in self.made.values:
            self.made.values["sample"] = str(samples[0])
            self.made.files.append(File(str(samples[0]), "sample", "sample submission"))

    def _report_others(self) -> None:
        taken = {one.path for one in self.made.files}
        for path, reason in self.found.unknown:
            self.made.files.append(File(str(path), "", reason))
        for kind, source in self.found.foreign:
            if str(source) not in taken:
                self.made.files.append(File(str(source), "", f"{kind} labels, not needed"))
        self.made.files += [
            File(str(one.path), "", one.about) for one in self.found.cocos if str(one.path) not in taken
        ]
        self.made.files += [
            File(str(one.path), "", f"{one.about}, of an earlier trashkit init")
            for one in self.found.earlier
            if str(one.path) not in taken
        ]
        self.made.files += [File(str(one), "", "class names") for one in self.found.names]
        self.made.files.append(File(self.made.values["images"], "images", f"{len(self._all_photos())} photos"))
        if self.found.not_read:
            self.made.notes.append(f"{self.found.not_read} more JSON and XML files were not looked at")
        self.made.notes += [f"{one} cannot be read and was left out" for one in self.listing.unreadable[:5]]

    def _add(self, role: str, name: str, coco: Coco, about: str, sources: Sequence[str]) -> None:
        """A new file next to trashkit.toml, under a name that is free, or has one of an earlier call."""
        if (self.listing.folder / name).exists() and name not in {str(one.path) for one in self.found.earlier}:
            name = f"trashkit-{name}"
        self.new[name] = mark(coco, sources)
        self.made.values[role] = name
        self.made.files.append(File(name, role, f"{coco.count('images')} images, written by this command: {about}"))

    def _all_photos(self) -> tuple[PurePosixPath, ...]:
        """Photos of the project; --images may name a folder elsewhere."""
        images = self.roles.images
        elsewhere = images is not None and self._relative(images).startswith("..")
        return list_folder(images).photos if images is not None and elsewhere else self.listing.photos

    def _ambiguous(self, what: str, option: str, paths: Sequence[PurePosixPath]) -> TrashkitError:
        shown = [str(self.listing.folder / path) for path in sorted(paths, key=lambda path: (len(path.parts), path))]
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        return TrashkitError(
            f"{len(shown)} files could be {what}: {', '.join(shown[:10])}{more}",
            hint=f"name one: {option} {quoted(shown[0])}",
        )

    def _is(self, one: CocoFile, role: Path | None) -> bool:
        return role is not None and str(one.path) == self._relative(role)

    def _relative(self, path: Path | str) -> str:
        """A path that the user typed, relative to the project's folder; class maps by name stay as they are."""
        if isinstance(path, str) and path in ("official", "own", "taco"):
            return path
        return Path(os.path.relpath(path, self.listing.folder)).as_posix()


def _same(one: Coco, other: Coco) -> bool:
    return all(one.rows(block) == other.rows(block) for block in {*one.blocks(), *other.blocks()})


def _prefixed(coco: Coco, prefix: str) -> Coco:
    """The file with a folder before each file name."""
    changes = {
        row: {**one, "file_name": prefix + one["file_name"]}
        for row, one in enumerate(coco.records("images"))
        if isinstance(one, dict) and isinstance(one.get("file_name"), str)
    }
    return coco.replace("images", changes)


def _prefix(root: PurePosixPath, common: PurePosixPath) -> str:
    return "" if root == common else f"{root.relative_to(common)}/"


def _text(made: MadeProject, coco: Coco) -> str:
    """The project file, with a comment on each value."""
    comments = {
        "data": "COCO file with labels",
        "images": "folder of the photos: file names are relative to it",
        "test": "photos to predict",
        "sample": "sample submission, for the header and the order of rows",
        "classes": "official, own, taco, or a JSON file",
    }
    lines = ["# Files and settings for trashkit's commands; paths are relative to this file. Options override it.", ""]
    lines += [f"version = {VERSION}", "", "[project]"]
    for key, about in comments.items():
        if key in made.values:
            lines.append(f"{key} = {_quoted(made.values[key])}  # {about}")
    lines.append('runs = "runs"  # folder of what commands write without --out')
    folders = {
        str(one.get("file_name", "")).rpartition("/")[0] for one in coco.records("images") if isinstance(one, dict)
    }
    if len(folders) > 1:
        lines.append(f'# groups = "folder"  # photos are in {len(folders)} folders: keep each in one fold')
    lines += ["", "# [auto]", '# extra = ["other.json:photos:0.5"]  # further data sets, JSON:DIR[:WEIGHT]', ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TrashkitError(
            f"the name {text!r} is not UTF-8, so no project file can hold it", hint="rename it"
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
