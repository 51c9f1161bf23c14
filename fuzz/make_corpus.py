"""Makes the corpora of the fuzz targets of the project's own data: good inputs, and every known fault that
fits into a file. After a change of a target: .venv/bin/python fuzz/make_corpus.py"""

import shutil

from corpora import ROOT, configuration, images, messages, models, page, teaching

TARGETS = {
    "image_file": images.image_files,
    "raw_frame": images.raw_frames,
    "camera_info": messages.camera_infos,
    "cdr": messages.cdr,
    "ros_arguments": configuration.ros_arguments,
    "params_yaml": configuration.params_yaml,
    "config_json": models.config_json,
    "safetensors_header": models.safetensors_header,
    "head_file": models.head_files,
    "exemplars_file": teaching.exemplars_files,
    "clicks_file": teaching.clicks_files,
    "engine_manifest": models.engine_manifests,
    "page_message": page.page_messages,
}


def main() -> None:
    for target, files in TARGETS.items():
        folder = ROOT / "fuzz" / "corpus" / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in files().items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
