"""Loads copies of a module of ToyNet, each with something changed, and says what came of each.

    python load_mutated_modules.py MODULE FOLDER FIRST COUNT

Lines "N begins" and "N loaded | refused | failed MESSAGE". What ends this process, ends it here.
"""

import os
import random
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).parents[1]))

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from helpers.mutated import mutate
from helpers.toy_network import TOY
from inception_finetune.components.backbone.allowed_operations import ALLOWED
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.errors import UserError

NETWORKS[TOY.name] = TOY


def change(module: Path, generator: random.Random) -> None:
    """Changes bytes of one of the module's files, or the graph that it holds."""
    files = sorted(path for path in module.rglob("*") if path.is_file())
    graph = module / "saved_model.pb"
    if generator.randrange(2):
        path = generator.choice([graph, *files])
        path.write_bytes(mutate(path.read_bytes(), generator) if path.stat().st_size else b"x")
        return
    parsed = SavedModel.FromString(graph.read_bytes())
    for _ in range(generator.randrange(1, 4)):
        _change_graph(parsed.meta_graphs[0], generator)
    graph.write_bytes(parsed.SerializeToString())


def _change_graph(meta_graph, generator: random.Random) -> None:
    functions = meta_graph.graph_def.library.function
    nodes = generator.choice([meta_graph.graph_def.node, generator.choice(functions).node_def])
    node = generator.choice(nodes)
    match generator.randrange(7):
        case 0:
            node.op = generator.choice([*sorted(ALLOWED), functions[0].signature.name])
        case 1:
            nodes.remove(node)
        case 2:
            node.input.append(generator.choice(nodes).name)
        case 3 if node.input:
            node.input[generator.randrange(len(node.input))] = generator.choice(nodes).name
        case 4 if node.attr:
            del node.attr[generator.choice(sorted(node.attr))]
        case 5 if node.attr:
            value = node.attr[generator.choice(sorted(node.attr))]
            changed = mutate(value.SerializeToString() or b"\0", generator)
            try:
                value.ParseFromString(changed)
            except Exception:  # is no attribute any more
                value.Clear()
        case _:
            objects = meta_graph.object_graph_def.nodes
            one = generator.choice(objects)
            if one.children:
                generator.choice(one.children).node_id = generator.randrange(-1, len(objects) + 1)
            else:
                one.Clear()


def main(module: Path, folder: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        copy = folder / str(number)
        shutil.copytree(module, copy)
        change(copy, random.Random(number))
        print(f"{number} begins", flush=True)
        try:
            load_backbone(copy, image_size=16)
            said = "loaded"
        except UserError as error:
            said = f"refused {error}" if "\n" not in str(error) else f"failed {error!r}"
        except BaseException as error:  # a traceback for the person who loads it
            said = f"failed {error!r}"
        print(f"{number} {said}", flush=True)
        shutil.rmtree(copy)


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
