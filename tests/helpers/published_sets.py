"""A few films in the layout of every published set, written by hand: a row for every trap of its label files."""

import gzip

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

SIDE = 64


def write(root, texts, films):
    """Files of text, compressed where their name ends in .gz, and films, different ones."""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    for k, name in enumerate(films):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        gray_HW = np.random.default_rng(k).integers(0, 256, (SIDE, SIDE), np.uint8)
        dicom(path, gray_HW) if path.suffix in (".dcm", ".dicom") else Image.fromarray(gray_HW).save(path)
    return root


def dicom(path, gray_HW):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = gray_HW.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = gray_HW.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


# ------------------------------------------------------------------------------------------------------------------ nih

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)


def nih_row(film, labels, age="61"):
    patient = int(film[:8])
    return f"{film},{labels},0,{patient},{age},F,PA,2500,2048,0.168,0.168\n"


NIH_LABELS = {
    "00000001_000.png": "No Finding",
    "00000001_001.png": "Effusion|Mass",
    "00000002_000.png": "Pneumonia|Infiltration",
    "00000003_000.png": "Pneumonia",
    "00000004_000.png": "No Finding",
    "00000005_000.png": "Pneumonia|Hernia",
    "00000006_000.png": "Pleural_Thickening",
    "00000007_000.png": "Pneumonia",  # in no list
    "00000008_000.png": "No Finding",  # without a file
}


def nih(root):
    tested = ("00000005_000.png", "00000006_000.png")
    listed = [film for film in NIH_LABELS if film not in (*tested, "00000007_000.png")]
    boxes = (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000002_000.png,Infiltrate,225.08,547.5,86.5,79.25\n"
        "00000002_000.png,Pneumonia,1,2,3,4,,,\n"
        "00000005_000.png,Pneumonia,10,20,30,40\n"
    )
    rows = "".join(
        nih_row(film, labels, "058Y" if k == 0 else "61") for k, (film, labels) in enumerate(NIH_LABELS.items())
    )
    texts = {
        "Data_Entry_2017_v2020.csv": NIH_HEADER + rows,
        "train_val_list.txt": "\n".join(listed) + "\n",
        "test_list.txt": "\n".join(tested),
        "BBox_List_2017.csv": boxes,
    }
    films = [f"images_{1 + k // 4:03}/images/{film}" for k, film in enumerate(NIH_LABELS) if film != "00000008_000.png"]
    return write(root, texts, [*films, "images_012/images/00030805_000.png"])


# ------------------------------------------------------------------------------------------------------------- chexpert

CHEXPERT_FINDINGS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
CHEXPERT_HEADER = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_FINDINGS}\n"


def chexpert_labels(**values):
    """The 14 cells of a row; names with _ for a space."""
    given = {name.replace("_", " "): value for name, value in values.items()}
    return ",".join(given.get(name, "") for name in CHEXPERT_FINDINGS.split(","))


def chexpert_row(path, labels, kind="Frontal", view="AP", folder="CheXpert-v1.0-small"):
    return f"{folder}/{path},Female,64,{kind},{view},{labels}\n"


CHEXPERT_TRAIN = {
    "train/patient00001/study1/view1_frontal.jpg": chexpert_labels(No_Finding="1.0"),
    "train/patient00001/study1/view2_lateral.jpg": chexpert_labels(No_Finding="1.0"),
    "train/patient00002/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="1.0", Lung_Opacity="1.0"),
    "train/patient00002/study2/view1_frontal.jpg": chexpert_labels(Pneumonia="-1.0"),
    "train/patient00003/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="0.0", Edema="1.0"),
    "train/patient00004/study1/view1_frontal.jpg": chexpert_labels(Edema="1.0"),
}
CHEXPERT_VALID = {
    "valid/patient64541/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="1.0"),
    "valid/patient64542/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="0.0"),
}
CHEXPERT_TEST = {
    "test/patient64741/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="1", Lung_Opacity="1"),
    "test/patient64742/study1/view1_frontal.jpg": chexpert_labels(Pneumonia="0", Lung_Opacity="0"),
}


def chexpert(root):
    """The test file is that of CheXlocalize: other columns, other folder, another word for an opacity."""
    train = "".join(
        chexpert_row(
            path, labels, *(("Lateral", "") if "lateral" in path else ("Frontal", "LL" if "4/" in path else "AP"))
        )
        for path, labels in CHEXPERT_TRAIN.items()
    )
    valid = "".join(chexpert_row(path, labels, folder="CheXpert-v1.0") for path, labels in CHEXPERT_VALID.items())
    test = "".join(f"{path},{labels}\n" for path, labels in CHEXPERT_TEST.items())
    named = CHEXPERT_FINDINGS.replace("Lung Opacity", "Airspace Opacity")
    texts = {
        "CheXpert-v1.0-small/train.csv": CHEXPERT_HEADER + train,
        "CheXpert-v1.0-small/valid.csv": CHEXPERT_HEADER + valid,
        "CheXpert-v1.0-small/test_labels.csv": f"Path,{named}\n" + test,
    }
    return write(
        root, texts, [f"CheXpert-v1.0-small/{path}" for path in (CHEXPERT_TRAIN | CHEXPERT_VALID | CHEXPERT_TEST)]
    )


# ---------------------------------------------------------------------------------------------------------------- mimic

MIMIC_FILMS = [  # film, subject, study, view, split
    ("aa01", "19990001", "59990001", "PA", "train"),
    ("aa02", "19990001", "59990001", "LATERAL", "train"),
    ("aa03", "19990002", "59990002", "AP", "train"),
    ("aa04", "19990003", "59990003", "", "train"),
    ("aa05", "19990004", "59990004", "PA", "validate"),
    ("aa06", "19990005", "59990005", "PA", "test"),
    ("aa07", "19990006", "59990006", "AP", "test"),
    ("aa08", "19990007", "59990007", "AP", "test"),  # of a study without labels
]
MIMIC_STUDIES = {
    ("19990001", "59990001"): chexpert_labels(Pneumonia="1.0"),
    ("19990002", "59990002"): chexpert_labels(No_Finding="1.0"),
    ("19990003", "59990003"): chexpert_labels(No_Finding="1.0"),
    ("19990004", "59990004"): chexpert_labels(Pneumonia="-1.0"),
    ("19990005", "59990005"): chexpert_labels(Pneumonia="1.0"),
    ("19990006", "59990006"): chexpert_labels(Pneumonia="0.0"),
}


def mimic(root):
    studies = "".join(f"{subject},{study},{labels}\n" for (subject, study), labels in MIMIC_STUDIES.items())
    metadata = "".join(f"{film},{subject},{study},x,{view},2022\n" for film, subject, study, view, _ in MIMIC_FILMS)
    splits = "".join(f"{film},{study},{subject},{split}\n" for film, subject, study, _, split in MIMIC_FILMS)
    texts = {
        "mimic-cxr-2.0.0-chexpert.csv.gz": f"subject_id,study_id,{CHEXPERT_FINDINGS}\n" + studies,
        "mimic-cxr-2.0.0-metadata.csv.gz": "dicom_id,subject_id,study_id,Procedure,ViewPosition,Rows\n" + metadata,
        "mimic-cxr-2.0.0-split.csv.gz": "dicom_id,study_id,subject_id,split\n" + splits,
    }
    return write(root, texts, [f"files/p19/p{subject}/s{study}/{film}.jpg" for film, subject, study, *_ in MIMIC_FILMS])


# ------------------------------------------------------------------------------------------------------------- padchest

PADCHEST_HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,Projection,Report,MethodLabel,"
    "Labels\n"
)
PADCHEST_ROWS = [  # film, patient, projection, labels
    ("x_01.png", "901", "PA", "\"['pneumonia', ' cardiomegaly']\""),
    ("x_02.png", "901", "L", "['pneumonia']"),
    ("x_03.png", "902", "AP_horizontal", "\"['pleural effusion', '  pneumonia ', '']\""),
    ("x_04.png", "903", "PA", "['normal']"),
    ("x_05.png", "904", "AP", "[' normal']"),
    ("x_06.png", "905", "COSTAL", "['normal']"),
    ("x_07.png", "906", "PA", "nan"),
    ("x_08.png", "907", "PA", "['scoliosis']"),
    ("x_09.png", "908", "PA", "[' pneumonia']"),
]


def padchest(root):
    rows = "".join(
        f'{k},{film},3,20140101,7,{patient},1930.0,F,{projection},"said in\ntwo lines",Physician,{labels}\n'
        for k, (film, patient, projection, labels) in enumerate(PADCHEST_ROWS)
    )
    texts = {"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv": PADCHEST_HEADER + rows}
    return write(root, texts, [f"3/{film}" for film, *_ in PADCHEST_ROWS])


# ---------------------------------------------------------------------------------------------------------------- vindr

VINDR_HEADER = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
VINDR_READERS = {  # what each of three readers found
    "ab01": (["Consolidation", "Consolidation"], ["Consolidation"], []),
    "ab02": (["Consolidation"], [], []),
    "ab03": ([], [], []),
    "ab04": (["Consolidation"], ["Consolidation"], ["Consolidation"]),
    "ab05": (["Cardiomegaly"], ["Cardiomegaly"], ["Cardiomegaly"]),
    "ab06": ([], [], []),
}


def vindr(root):
    rows = "".join(
        f"{film},{name},4,R{reader},10.0,20,30,60\n" if name else f"{film},No finding,14,R{reader},,,,\n"
        for film, readers in VINDR_READERS.items()
        for reader, found in enumerate(readers)
        for name in found or [""]
    )
    return write(root, {"train.csv": VINDR_HEADER + rows}, [f"train/{film}.dicom" for film in VINDR_READERS])


# ----------------------------------------------------------------------------------------------------------------- rsna

RSNA_HEADER = "patientId,x,y,width,height,Target\n"
RSNA_CLASSES = {
    "0a01": "Lung Opacity",
    "0a02": "Normal",
    "0a03": "No Lung Opacity / Not Normal",
    "0a04": "Lung Opacity",
    "0a05": "Normal",
    "0a06": "Lung Opacity",
}


def rsna(root):
    boxes = {"0a01": ["264.0,152.0,213.0,379.0", "562,152,256,453"], "0a04": ["1,2,3,4"], "0a06": ["5,6,7,8"]}
    rows = "".join(
        f"{film},{box},1\n" if box else f"{film},,,,,0\n" for film in RSNA_CLASSES for box in boxes.get(film, [""])
    )
    classes = "".join(f"{film},{name}\n" for film, name in RSNA_CLASSES.items() for _ in boxes.get(film, [""]))
    texts = {
        "stage_2_train_labels.csv": RSNA_HEADER + rows,
        "stage_2_detailed_class_info.csv": "patientId,class\n" + classes,
    }
    films = [f"stage_2_train_images/{film}.dcm" for film in RSNA_CLASSES]
    return write(root, texts, [*films, "stage_2_test_images/0b01.dcm"])


# ----------------------------------------------------------------------------------------------------------------- siim

SIIM_HEADER = "ImageId, EncodedPixels\n"
SIIM_RUNS = {
    "1.2.3.1": ["1 2 1022 3", "2048 1"],  # the second continues nothing: a mask of its own
    "1.2.3.2": ["-1"],
    "1.2.3.3": ["-1"],
    "1.2.3.4": ["0 1048576"],
}


def siim(root):
    rows = "".join(f"{film}, {runs}\n" for film, masks in SIIM_RUNS.items() for runs in masks)
    films = [f"dicom-images-train/9.{k}/8.{k}/{film}.dcm" for k, film in enumerate(SIIM_RUNS)]
    return write(root, {"train-rle.csv": SIIM_HEADER + rows}, films)


# ----------------------------------------------------------------------------------------------------------------- list


def listed(root):
    """A list with a column a finding, beside the films it names."""
    rows = [
        "path,split,patient_id,view,Effusion,Mass,No Finding,age",
        "a/1.png,train,p1,PA,1,0,0,x",
        "a/2.png,train,p2,AP,0,,1,x",
        "a/7.png,train,p7,,1,,,x",
        "a/3.png,train,p3,LATERAL,1,1,0,x",
        "a/4.png,test,p4,AP,-1,0,,x",
        "a/5.png,test,p5,PA,1.0,0,0,x",
        "a/6.png,test,p6,PA,,1,0,x",
    ]
    return write(root, {"films.csv": "\n".join(rows)}, [f"a/{k}.png" for k in range(1, 8)])


WRITERS = {
    "nih": nih,
    "chexpert": chexpert,
    "mimic-cxr-jpg": mimic,
    "padchest": padchest,
    "vindr": vindr,
    "rsna": rsna,
    "siim": siim,
    "list": listed,
}
