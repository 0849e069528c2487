"""The papers that the methods of a run come from, and the numbers they are cited by."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_AUTHORS = 6  # named; of more, the first so many and et al.


@dataclass(frozen=True)
class Paper:
    """`authors` are "Family G, Family G"; `where` is journal or proceedings with volume and pages.

    `doi` and `arxiv` are bare identifiers: the page of a report refers to nothing outside.
    """

    authors: str
    title: str
    where: str
    year: int
    doi: str = ""
    arxiv: str = ""

    @property
    def identifier(self) -> str:
        return f"doi:{self.doi}" if self.doi else f"arXiv:{self.arxiv}" if self.arxiv else ""

    @property
    def text(self) -> str:
        names = self.authors.split(", ")
        authors = ", ".join([*names[:_MOST_AUTHORS], "et al"] if len(names) > _MOST_AUTHORS else names)
        title = self.title if self.title.endswith("?") else f"{self.title}."
        parts = [f"{authors}. {title}", f"{self.where}, {self.year}." if self.where else f"{self.year}."]
        return " ".join([*parts, *([f"{self.identifier}."] if self.identifier else [])])


_NIPS = "Advances in Neural Information Processing Systems"
PAPERS = {
    "adebayo": Paper(
        "Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B",
        "Sanity checks for saliency maps",
        f"{_NIPS} 31",
        2018,
        arxiv="1810.03292",
    ),
    "integrated_gradients": Paper(
        "Sundararajan M, Taly A, Yan Q",
        "Axiomatic attribution for deep networks",
        "Proceedings of the 34th International Conference on Machine Learning, PMLR 70:3319–3328",
        2017,
        arxiv="1703.01365",
    ),
    "integrated_gradients_unscaled": Paper(
        "Ancona M, Ceolini E, Öztireli C, Gross M",
        "Towards better understanding of gradient-based attribution methods for deep neural networks",
        "International Conference on Learning Representations",
        2018,
        arxiv="1711.06104",
    ),
    "fong": Paper(
        "Fong RC, Vedaldi A",
        "Interpretable explanations of black boxes by meaningful perturbation",
        "IEEE International Conference on Computer Vision",
        2017,
        arxiv="1704.03296",
    ),
    "sturmfels": Paper(
        "Sturmfels P, Lundberg S, Lee S-I",
        "Visualizing the impact of feature attribution baselines",
        "Distill",
        2020,
        doi="10.23915/distill.00022",
    ),
    "grad_cam": Paper(
        "Selvaraju RR, Cogswell M, Das A, Vedantam R, Parikh D, Batra D",
        "Grad-CAM: visual explanations from deep networks via gradient-based localization",
        "IEEE International Conference on Computer Vision, 618–626",
        2017,
        doi="10.1109/ICCV.2017.74",
    ),
    "saliency": Paper(
        "Simonyan K, Vedaldi A, Zisserman A",
        "Deep inside convolutional networks: visualising image classification models and saliency maps",
        "International Conference on Learning Representations, workshop",
        2014,
        arxiv="1312.6034",
    ),
    "input_x_gradient": Paper(
        "Shrikumar A, Greenside P, Shcherbina A, Kundaje A",
        "Not just a black box: learning important features through propagating activation differences",
        "",
        2016,
        arxiv="1605.01713",
    ),
    "deep_lift": Paper(
        "Shrikumar A, Greenside P, Kundaje A",
        "Learning important features through propagating activation differences",
        "Proceedings of the 34th International Conference on Machine Learning, PMLR 70:3145–3153",
        2017,
        arxiv="1704.02685",
    ),
    "guided_backprop": Paper(
        "Springenberg JT, Dosovitskiy A, Brox T, Riedmiller M",
        "Striving for simplicity: the all convolutional net",
        "International Conference on Learning Representations, workshop",
        2015,
        arxiv="1412.6806",
    ),
    "smooth_grad": Paper(
        "Smilkov D, Thorat N, Kim B, Viégas F, Wattenberg M",
        "SmoothGrad: removing noise by adding noise",
        "",
        2017,
        arxiv="1706.03825",
    ),
    "gradient_shap": Paper(
        "Lundberg SM, Lee S-I",
        "A unified approach to interpreting model predictions",
        f"{_NIPS} 30",
        2017,
        arxiv="1705.07874",
    ),
    "occlusion": Paper(
        "Zeiler MD, Fergus R",
        "Visualizing and understanding convolutional networks",
        "European Conference on Computer Vision, LNCS 8689:818–833",
        2014,
        arxiv="1311.2901",
    ),
    "arun_2020": Paper(
        "Arun NT, Gaw N, Singh P, Chang K, Hoebel KV, Patel J, Gidwani M, Kalpathy-Cramer J",
        "Assessing the validity of saliency maps for abnormality localization in medical imaging",
        "Medical Imaging with Deep Learning, short papers",
        2020,
        arxiv="2006.00063",
    ),
    "arun_2021": Paper(
        "Arun N, Gaw N, Singh P, Chang K, Aggarwal M, Chen B, Hoebel K, Gupta S, Patel J, Gidwani M, Adebayo J, Li MD,"
        " Kalpathy-Cramer J",
        "Assessing the trustworthiness of saliency maps for localizing abnormalities in medical imaging",
        "Radiology: Artificial Intelligence 3(6):e200267",
        2021,
        doi="10.1148/ryai.2021200267",
    ),
    "maennel": Paper(
        "Maennel H, Alabdulmohsin I, Tolstikhin I, Baldock RJN, Bousquet O, Gelly S, Keysers D",
        "What do neural networks learn when trained with random labels?",
        f"{_NIPS} 33",
        2020,
        arxiv="2006.10455",
    ),
    "chaibub_neto_2018": Paper(
        "Chaibub Neto E, Pratap A, Perumal TM, Tummalacherla M, Bot BM, Mangravite L, Omberg L",
        "Using permutations to assess confounding in machine learning applications for digital health",
        "",
        2018,
        arxiv="1811.11920",
    ),
    "chaibub_neto_2019": Paper(
        "Chaibub Neto E, Pratap A, Perumal TM, Tummalacherla M, Snyder P, Bot BM, Trister AD, Friend SH, Mangravite L,"
        " Omberg L",
        "Detecting the impact of subject characteristics on machine learning-based diagnostic applications",
        "npj Digital Medicine 2:99",
        2019,
        doi="10.1038/s41746-019-0178-x",
    ),
    "winkler": Paper(
        "Winkler AM, Webster MA, Vidaurre D, Nichols TE, Smith SM",
        "Multi-level block permutation",
        "NeuroImage 123:253–268",
        2015,
        doi="10.1016/j.neuroimage.2015.05.092",
    ),
    "yona": Paper(
        "Yona G, Greenfeld D",
        "Revisiting sanity checks for saliency maps",
        "",
        2021,
        arxiv="2110.14297",
    ),
    "hedstrom": Paper(
        "Hedström A, Weber L, Lapuschkin S, Höhne MM-C",
        "A fresh look at sanity checks for saliency maps",
        "Explainable Artificial Intelligence (xAI)",
        2024,
        arxiv="2405.02383",
    ),
    "ssim": Paper(
        "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP",
        "Image quality assessment: from error visibility to structural similarity",
        "IEEE Transactions on Image Processing 13(4):600–612",
        2004,
        doi="10.1109/TIP.2003.819861",
    ),
    "aronow": Paper(
        "Aronow PM, Samii C, Assenova VA",
        "Cluster–robust variance estimation for dyadic data",
        "Political Analysis 23(4):564–577",
        2015,
        doi="10.1093/pan/mpv018",
    ),
    "phipson": Paper(
        "Phipson B, Smyth GK",
        "Permutation p-values should never be zero: calculating exact p-values when permutations are randomly drawn",
        "Statistical Applications in Genetics and Molecular Biology 9(1):39",
        2010,
        doi="10.2202/1544-6115.1585",
    ),
    "hoeffding": Paper(
        "Hoeffding W",
        "A class of statistics with asymptotically normal distribution",
        "The Annals of Mathematical Statistics 19(3):293–325",
        1948,
        doi="10.1214/aoms/1177730196",
    ),
    "efron": Paper(
        "Efron B, Stein C",
        "The jackknife estimate of variance",
        "The Annals of Statistics 9(3):586–596",
        1981,
        doi="10.1214/aos/1176345462",
    ),
    "kish": Paper("Kish L", "Survey sampling", "Wiley, New York", 1965),
    "satterthwaite": Paper(
        "Satterthwaite FE",
        "An approximate distribution of estimates of variance components",
        "Biometrics Bulletin 2(6):110–114",
        1946,
        doi="10.2307/3002019",
    ),
    "zhang": Paper(
        "Zhang J, Lin Z, Brandt J, Shen X, Sclaroff S",
        "Top-down neural attention by excitation backprop",
        "European Conference on Computer Vision, LNCS 9908:543–559",
        2016,
        arxiv="1608.00507",
    ),
    "saporta": Paper(
        "Saporta A, Gui X, Agrawal A, Pareek A, Truong SQH, Nguyen CDT, Ngo V-D, Seekins J, Blankenberg FG, Ng AY,"
        " Lungren MP, Rajpurkar P",
        "Benchmarking saliency methods for chest X-ray interpretation",
        "Nature Machine Intelligence 4:867–878",
        2022,
        doi="10.1038/s42256-022-00536-x",
    ),
    "otsu": Paper(
        "Otsu N",
        "A threshold selection method from gray-level histograms",
        "IEEE Transactions on Systems, Man, and Cybernetics 9(1):62–66",
        1979,
        doi="10.1109/TSMC.1979.4310076",
    ),
    "claim": Paper(
        "Tejani AS, Klontzas ME, Gatti AA, Mongan JT, Moy L, Park SH, Kahn CE",
        "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update",
        "Radiology: Artificial Intelligence 6(4):e240300",
        2024,
        doi="10.1148/ryai.240300",
    ),
}


class Citations:
    """Numbers papers in the order in which a text names them first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, *names: str) -> str:
        """` [3]` or ` [3, 4]`, to follow a word. Raises KeyError for a paper that is none of `PAPERS`."""
        for name in names:
            if name not in PAPERS:
                raise KeyError(name)
        numbers = [self._numbers.setdefault(name, len(self._numbers) + 1) for name in names]
        return f" [{', '.join(map(str, sorted(numbers)))}]"

    @property
    def papers(self) -> Sequence[Paper]:
        return [PAPERS[name] for name in self._numbers]


class Uncited(Citations):
    """For text that stands without its references."""

    def __call__(self, *names: str) -> str:
        return ""
