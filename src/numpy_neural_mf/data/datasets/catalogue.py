"""The data sets available by name: their addresses, checksums and terms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout of ratings that `read_ratings` does not read.

    `line` is a regular expression for a line of `file`, with the user, the item and the rating as groups. A
    line that does not match is an error, except for a header. The value `implicit` stands for no rating.
    """

    file: str
    line: str
    implicit: str | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set of the catalogue.

    `url` is the address of a zip archive or a CSV file of about `megabytes`; `checksum` has the algorithm and
    the digest of that file, as in "md5:0e33…". Unless the set `is_fixed`, a different digest means another
    version of it. `licence` summarises its terms in a sentence; the terms in its README are binding.
    """

    url: str
    checksum: str
    megabytes: int
    n_ratings: int
    licence: str
    citation: str
    is_fixed: bool = True
    layout: Layout | None = None


RESEARCH = "research use, {}, no commercial use without permission"
UNSHARED = RESEARCH.format("no redistribution")
SHARED = RESEARCH.format("redistribution under the same conditions")
CITED = "research use; cite its publication"


def _movielens(
    name: str, n_ratings: int, megabytes: int, md5: str, licence: str = UNSHARED, is_fixed: bool = True
) -> DataSet:
    return DataSet(
        url=f"https://files.grouplens.org/datasets/movielens/{name}.zip",
        checksum=f"md5:{md5}",
        megabytes=megabytes,
        n_ratings=n_ratings,
        licence=licence,
        citation="F. Maxwell Harper and Joseph A. Konstan. The MovieLens Datasets: History and Context. "
        "ACM Transactions on Interactive Intelligent Systems 5(4), 2015. https://doi.org/10.1145/2827872",
        is_fixed=is_fixed,
    )


def _amazon(category: str, n_ratings: str, sha256: str) -> DataSet:
    return DataSet(
        url=f"https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/ratings_{category}.csv",
        checksum=f"sha256:{sha256}",
        megabytes=round(int(n_ratings) * 40.7e-6),  # bytes per line, nearly constant
        n_ratings=int(n_ratings),
        licence="none is stated; cite its publication",
        citation="Ruining He and Julian McAuley. Ups and Downs: Modeling the Visual Evolution of Fashion "
        "Trends with One-Class Collaborative Filtering. WWW 2016. https://doi.org/10.1145/2872427.2883037",
    )


# Categories of the 2014 release, numbers of ratings from its page, and SHA-256 from OmniRec's loader.
AMAZON_2014 = """
Amazon_Instant_Video 583_933 249e1061d30db8c1230e4f3edd0523be12c37e6a8e6b9872a312cf6c326f157b
Apps_for_Android 2_638_172 ed8919d499a20949a60ea10c40c25d820783da7bead896f32213f98b1887d987
Automotive 1_373_768 d77d59c094d86b7c987edcbc8d99ae78c9061e6f89ba819e1a77a1951fe977cc
Baby 915_446 a219f779b2694f660f1ee243f2af71d63c2c9828425e716569faace305e978d1
Beauty 2_023_070 17d5232b90444beecfe758ce1446e5300230491f3a88ac802992ca95fc4c150f
Books 22_507_155 87d923ddac2aacf40c1d0e0e056dbf4bf69c9c7d41852c6b434e781e759c0707
CDs_and_Vinyl 3_749_004 74b503152bc8f92f389a1f841ec00361f903772e5ebb2b664ce678c023dbbceb
Cell_Phones_and_Accessories 3_447_249 3c944712ec98360c959df256c9e3dde0d40caa4a888b6d2013050a7ab502afaa
Clothing_Shoes_and_Jewelry 5_748_920 7bf571cb99abaebf380d2a231986e6df7b622ebd49b308e2506f1c0aab54b29a
Digital_Music 836_006 fdf164882460ff26fa2521e01f6a9cf8005ad252ddce308dd03519064f02d80e
Electronics 7_824_482 a8e5b66b7f5371d1659ff88ae4acec91604125d6850f4f7e1c418120f2f9c16c
Grocery_and_Gourmet_Food 1_297_156 ae9b32803a9f0ddf98222e00871e7a8ff7709e792f2ba8048131ca214617e33c
Health_and_Personal_Care 2_982_326 387374ea5c9641a6e9dc09b93423414da4f8153b2975594e8b24c4bdd60b0462
Home_and_Kitchen 4_253_926 b0dae06e0b147abbf31878b4d16075a77b6ca8b8a5005b1a0b153b9d3ed310b2
Kindle_Store 3_205_467 616edbb9ee9b5e1f0212e0a75e226df3abb66548d833df3ea8a3c53942541200
Movies_and_TV 4_607_047 05fd3bbb387bca99f16b7a64a26abb736429da416e3cc0cc7423483e9ec4c265
Musical_Instruments 500_176 c541cf84fcc75d98cc595ebd856b0ebd351efce134671171c2de0d54b9573b9c
Office_Products 1_243_186 4cd5f3d454e744b7017ad5918e995ec2893b577c2109dbaa6d65b375092f9630
Patio_Lawn_and_Garden 993_490 8edc47c5fe860e97e34ab1f339835606e551b03bec13bc4f967693c1b04ad3c0
Pet_Supplies 1_235_316 5f963b813439471b4b2ce10fa7e9293da5995e4ec61f29d54489996a857b3442
Sports_and_Outdoors 3_268_695 a31a27e2f0cd85b50acd002378cf1a23a0b3f2659484defb3225a836118252d4
Tools_and_Home_Improvement 1_926_047 ea650a9d79e69a78f011843104ecac2a3ed8059bf7405e5a19f3a25511c9d2c6
Toys_and_Games 2_252_771 e28a342ca89a79036a9a840c0385a3a3342a08d3d3450ea3eaf3d544cd65d3af
Video_Games 1_324_753 f0ca171050c2e0f208d47f5267992476b21ab68a01439c21c8be1a4432982cfa
"""

DATASETS = {
    "ml-100k": _movielens("ml-100k", 100_000, 5, "0e33842e24a9c977be4e0107933c0723"),
    "ml-1m": _movielens("ml-1m", 1_000_209, 6, "c4d9eecfca2ab87c1945afe126590906"),
    "ml-10m": _movielens("ml-10m", 10_000_054, 63, "ce571fd55effeba0271552578f2648bd"),
    "ml-20m": _movielens("ml-20m", 20_000_263, 190, "cd245b17a1ae2cc31bb14903e1204af3"),
    "ml-25m": _movielens("ml-25m", 25_000_095, 250, "6b51fb2759a8657d3bfcbfc42b592ada"),
    "ml-32m": _movielens("ml-32m", 32_000_204, 239, "d472be332d4daa821edc399621853b57", SHARED),
    "ml-latest-small": _movielens(
        "ml-latest-small", 100_836, 1, "31a303aabbc519bd33d025e44d6c2570", SHARED, is_fixed=False
    ),
    "goodbooks-10k": DataSet(
        url="https://github.com/zygmuntz/goodbooks-10k/releases/download/v1.0/goodbooks-10k.zip",
        # From Ludwig's configuration of goodbooks_books.
        checksum="sha256:261b97b56db61f3fb2ce5aadbb13704d30179fcc986c17ace665a0af9ed00731",
        megabytes=30,  # estimated from the sizes of its files
        n_ratings=5_976_479,
        licence="CC BY-SA 4.0: any use, with attribution, adaptations under the same licence",
        citation="Zygmunt Zając. Goodbooks-10k: A New Dataset for Book Recommendations. FastML, 2017. "
        "http://fastml.com/goodbooks-10k-a-new-dataset-for-book-recommendations",
    ),
    "book-crossing": DataSet(
        # The copy in the Web Archive: the set's own server has been gone since 2023.
        url="https://web.archive.org/web/20230623001827id_/"
        "http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip",
        # From the DVC files of PIReT's bookdata tools and of LensKit's performance monitor.
        checksum="md5:37d647ee9e18ba134ea6d78ee4fe5292",
        megabytes=26,
        n_ratings=433_671,
        licence=CITED,
        citation="Cai-Nicolas Ziegler, Sean M. McNee, Joseph A. Konstan and Georg Lausen. Improving "
        "Recommendation Lists Through Topic Diversification. WWW 2005. "
        "https://doi.org/10.1145/1060745.1060754",
        layout=Layout("BX-Book-Ratings.csv", r'"(\d+)";"(.*)";"(\d+)"', implicit="0"),
    ),
    "jester": DataSet(
        # The copy in the Web Archive: the set's own server is not always reachable.
        url="https://web.archive.org/web/20250409222630id_/"
        "https://eigentaste.berkeley.edu/dataset/archive/jester_dataset_2.zip",
        # From OmniRec's loader.
        checksum="sha256:5c2b9fb8346fc132ac1be6a9264fef9a6d153da68f3201839ac25c19f9a59a09",
        megabytes=8,
        n_ratings=1_761_439,
        licence=CITED,
        citation="Ken Goldberg, Theresa Roeder, Dhruv Gupta and Chris Perkins. Eigentaste: A Constant Time "
        "Collaborative Filtering Algorithm. Information Retrieval 4(2), 2001. "
        "https://doi.org/10.1023/A:1011419012209",
        layout=Layout("jester_ratings.dat", r"(\d+)\s+(\d+)\s+(-?[\d.]+)"),
    ),
} | {
    "amazon-2014-" + category.removeprefix("Amazon_").lower().replace("_", "-"): _amazon(category, *facts)
    for category, *facts in map(str.split, AMAZON_2014.strip().splitlines())
}
