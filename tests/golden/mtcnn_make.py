"""Write mtcnn.json anew: python tests/golden/mtcnn_make.py, after looking at what changed."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

if __name__ == "__main__":
    target = HERE / "mtcnn.json"
    target.write_text(target.read_text() if target.is_file() else "{}", encoding="utf-8")
    from test_mtcnn import MTCNN, PICTURES

    found = {name: MTCNN().detect(picture) for name, picture in PICTURES.items()}
    stored = {
        name: {
            "boxes": faces.boxes_xyxy.astype(float).round(1).tolist(),
            "scores": faces.scores.astype(float).round(4).tolist(),
            "keypoints": faces.keypoints.astype(float).round(1).tolist(),
        }
        for name, faces in found.items()
    }
    text = json.dumps(stored)
    target.write_text(text.replace("}, ", "},\n") + "\n", encoding="utf-8")
