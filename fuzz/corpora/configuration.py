"""Command lines and parameter files."""

from . import ROOT


def lines(*arguments: str) -> bytes:
    return "\n".join(arguments).encode()


def ros_arguments() -> dict[str, bytes]:
    return {
        "launch": lines(
            "-r", "__node:=eye", "-r", "__ns:=/robot", "-p", "model:=random:tiny", "-r", "image:=/cam"
        ),
        "compressed": lines("-r", "image:=/cam/image_raw", "-r", "image/compressed:=/jpegs"),
        "double-suffix": lines("-r", "image:=/cam/compressed/compressed"),
        "private": lines("-r", "~/features:=tokens", "-r", "{node}/x:={ns}/y"),
        "of-other-nodes": lines(
            "-r", "eye:image:=/a", "--param", "eye:threads:=2", "--log-level", "a.b:=debug"
        ),
        "kinds": lines("-r", "rostopic://a:=rostopic://b", "-r", "rosservice://a:=b"),
        "values": lines("-p", "a:=[1, 2.5]", "-p", "b:=.nan", "-p", "c:=/data/a: b", "-p", "d:=2.10"),
        "deep-value": lines("-p", "a:=" + "[" * 500),
        "ends": lines("--", "x", "--ros-args", "--disable-rosout-logs"),
        "cut-off": lines("-r"),
        "empty-sides": lines("-r", ":=", "-r", "a:="),
        "slashes": lines("-r", "image:=//", "-r", "a/:=b"),
        "tildes": lines("-r", "~:=~", "-r", "image:=~~"),
        "other-letters": lines("-r", "image:=/kamera/größe", "-r", "__node:=ä"),
        "long": lines("-r", "image:=/" + "a/" * 2000 + "b"),
        "empty": b"",
    }


def params_yaml() -> dict[str, bytes]:
    def own(body: str) -> bytes:
        return f"/**: {{ros__parameters: {{{body}}}}}".encode()

    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    return {
        "template.yaml": (ROOT / "config/pixio.yaml").read_bytes(),
        "nested.yaml": b"robot:\n  pixio_node:\n    ros__parameters:\n      model: m\n"
        b"      cameras: [front, rear]\n      front: {max_rate: 5}\n",
        "twice.yaml": b"/**: {ros__parameters: {model: m}}\n/**: {ros__parameters: {fit: crop, fit: auto}}",
        "texts.yaml": own("model: 2.10, engine_build: off, engine_cache: '~', depth_head: 007"),
        "numbers.yaml": own(
            "model: m, max_rate: 5, threads: 0x10, max_depth: .inf, min_depth: .nan, layer: 1e3"
        ),
        "names.yaml": own("model: m, cameras: [on, off, '', a__b]"),
        "one-name.yaml": own("model: m, cameras: 'left,right'"),
        "dump.yaml": own("model: m, engine_build: 'off', cameras: [], qos_overrides: {/a: {depth: 1}}"),
        "tags.yaml": own("model: !!str 3, layer: !block 3, cameras: !!python/tuple [a]"),
        "unknown.yaml": own("modle: m, shutter: {speed: 3}"),
        "no-value.yaml": own("model: , size: ~"),
        "outside.yaml": b"model: m",
        "list.yaml": b"- 1\n- 2\n",
        "keys-that-are-lists.yaml": b"? [a, b]\n: {ros__parameters: {}}\n",
        "control-characters.yaml": own('"a\\n\\x1b[2Jb": 1, model: "\\0"'),
        "long-name.yaml": own("x" * 5000 + ": 1"),
        "deep-lists.yaml": b"[" * 2000,
        "deep-mappings.yaml": b"{a: " * 2000,
        "deep-block.yaml": b"- " * 2000,
        "laughs.yaml": laughs.encode(),
        "itself.yaml": b"a: &a [*a]",
        "documents.yaml": b"a: 1\n---\nb: 2\n",
        "tab.yaml": b"/**:\n\tros__parameters: {}\n",
        "broken.yaml": b"/**:\n  ros__parameters:\n    size: [\n",
        "empty.yaml": b"",
    }
