"""Picture files to arrays and back, and the noisy image that a run starts from. No TensorFlow.

A picture is uint8 (h, w, 3). The network's input is float32 (1, h, w, 3), with the colour means subtracted.
Both use OpenCV's channel order: blue, green, red.
"""

import os
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph import console
from nst_graph.errors import OutputError, PictureError, RuntimeMissingError, shown
from nst_graph.files import check_file, replacing
from nst_graph.picture_files import MAX_MEGAPIXELS, check_header, damaged, is_cut_jpeg, read_file, with_more_data

try:
    import cv2 as cv2  # `as`: other modules import cv2 from here and share this error
except ImportError as error:  # opencv-python needs libGL, which a minimal system does not have
    raise RuntimeMissingError(
        f"OpenCV cannot be loaded ({error}): pip uninstall -y opencv-python && pip install opencv-python-headless"
    ) from error

#: A picture for callers: the path of a file, or uint8 (h, w, 3) in the order blue, green, red.
Picture = Union[str, "os.PathLike[str]", np.ndarray]


def read_picture(picture: Picture, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Return a picture as an array.

    Parameters
    ----------
    picture : path or ndarray
        A file in any format that OpenCV reads: grayscale becomes three equal channels, transparency is dropped, 16 bits
        become 8, an EXIF rotation is applied. Or an array uint8 (h, w, 3) like those of `cv2.imread`; it is returned
        unchanged.
    max_megapixels : float
        How many millions of pixels a file may have; nothing is decoded of one that has more.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red.

    Raises
    ------
    PictureError
        If the file is missing, a folder, empty, cut short, too large or not a picture, or if the array has another
        shape or dtype. See `nst_graph.picture_files`.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise PictureError(
                f"a picture given as an array must be uint8 (height, width, 3), not {picture.dtype} {picture.shape}"
            )
        return picture
    try:
        path = os.fspath(picture)
    except TypeError:
        raise PictureError(f"a picture must be a path or an array, not {shown(picture)}") from None
    return decoded(read_file(path), path, max_megapixels)


def decoded(data: bytes, path: str, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Return the picture in the bytes of a file: uint8 (h, w, 3), as `read_picture` describes it.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        Its name, for the error message.
    max_megapixels : float
        See `read_picture`.

    Raises
    ------
    PictureError
        If it is not read (see `nst_graph.picture_files.check_header`), is damaged, or has rows missing.
    """
    kind = check_header(data, path, max_megapixels)
    pixels = _pixels(data)
    if pixels is None:
        raise damaged(path)
    if kind == "JPEG" and (is_cut_jpeg(data) or not _same(pixels, _pixels(with_more_data(data)))):
        raise PictureError(f"the end of the picture {path!r} is missing; get it again or name another")
    return pixels


def _same(pixels: np.ndarray, others: Optional[np.ndarray]) -> bool:
    return others is not None and np.array_equal(pixels, others)


def _pixels(data: bytes) -> Optional[np.ndarray]:
    with console.silenced():  # this package reports a bad file itself, in one line
        try:
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # for example more pixels than OpenCV's limit
            return None


def resized(img: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize a picture or a generated image with bicubic interpolation, as the article does.

    Parameters
    ----------
    img : ndarray
        uint8 or float32 (h, w, 3).
    size : tuple of int
        Width and height of the result, in OpenCV's order.

    Returns
    -------
    ndarray
        (height, width, 3), of the same dtype as `img`.
    """
    return np.asarray(cv2.resize(img, dsize=tuple(size), interpolation=cv2.INTER_CUBIC))


def scaled(img: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize a picture without noise: what gets smaller is averaged, what gets larger is bicubic.

    Cubic interpolation uses a few pixels only: a picture that it shrinks loses most of them, and fine strokes turn into
    noise.

    Parameters
    ----------
    img : ndarray
        uint8 or float32 (h, w, 3).
    size : tuple of int
        Width and height of the result, in OpenCV's order.

    Returns
    -------
    ndarray
        (height, width, 3), of the same dtype as `img`; `img` itself where it has the size.
    """
    height, width = img.shape[:2]
    if (width, height) == tuple(size):
        return img
    if size[0] <= width and size[1] <= height:
        return np.asarray(cv2.resize(img, dsize=tuple(size), interpolation=cv2.INTER_AREA))
    return resized(img, size)


def enlarged(img: np.ndarray, content: np.ndarray, larger_content: np.ndarray) -> np.ndarray:
    """Return a generated image at a larger size, with the fine detail of the content.

    Parameters
    ----------
    img : ndarray
        float32 (1, h, w, 3), preprocessed.
    content : ndarray
        uint8 (h, w, 3): the content picture at the image's size.
    larger_content : ndarray
        uint8 (H, W, 3): the content picture at the size of the result.

    Returns
    -------
    ndarray
        float32 (1, H, W, 3): the image in bicubic interpolation, which has no detail of its own at this size, and what
        the content has there, `larger_content` minus `content` in the same interpolation. Training starts lower from
        it and keeps about four evaluations of L-BFGS ahead.
    """
    size = larger_content.shape[1], larger_content.shape[0]
    detail = larger_content - resized(content.astype(np.float32), size)
    return np.asarray((resized(img[0], size) + detail)[np.newaxis])


def fitted_size(size: Tuple[int, int], longest: int, enlarge: bool = False) -> Tuple[int, int]:
    """Return the size of a picture of the same proportions with another longest side.

    Parameters
    ----------
    size : tuple of int
        Width and height.
    longest : int
        The longest side of the result.
    enlarge : bool
        Whether the result may be larger than the picture. Otherwise a smaller picture keeps its size.

    Returns
    -------
    tuple of int
        Width and height, rounded, at least 1.
    """
    if longest >= max(size) and not enlarge:
        return size
    width, height = (max(round(side * longest / max(size)), 1) for side in size)
    return width, height


def preprocess(picture: np.ndarray, size: Tuple[int, int], color_means: np.ndarray) -> np.ndarray:
    """Resize a picture and subtract the colour means. The result is the network's input.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red.
    size : tuple of int
        Width and height of the result, in OpenCV's order. The interpolation is bicubic.
    color_means : ndarray
        float64 (1, 1, 3), blue, green and red, on the scale 0 to 255.

    Returns
    -------
    ndarray
        float32 (1, height, width, 3), blue, green and red, about -124 to 151.

    Notes
    -----
    Source: the article, "Load and preprocess images".
    """
    return normalized(resized(picture, size), color_means)


def normalized(picture: np.ndarray, color_means: np.ndarray) -> np.ndarray:
    """Subtract the colour means from a picture of the right size. The result is the network's input.

    Parameters
    ----------
    picture : ndarray
        uint8 or float32 (h, w, 3), blue, green and red. It is not changed.
    color_means : ndarray
        float64 (1, 1, 3), blue, green and red, on the scale 0 to 255.

    Returns
    -------
    ndarray
        float32 (1, h, w, 3).
    """
    img = picture.astype("float32")
    img -= color_means
    return np.expand_dims(img, axis=0)


def load_img(path: str, size: Tuple[int, int], color_means: np.ndarray) -> np.ndarray:
    """Load a picture file as the network's input: `read_picture`, then `preprocess`.

    Parameters
    ----------
    path : str
        The picture file, see `read_picture`.
    size : tuple of int
        Width and height of the result, in OpenCV's order.
    color_means : ndarray
        float64 (1, 1, 3), blue, green and red, on the scale 0 to 255.

    Returns
    -------
    ndarray
        float32 (1, height, width, 3), blue, green and red.

    Raises
    ------
    PictureError
        If the file cannot be read as a picture.

    Examples
    --------
    >>> from nst_graph import Settings, load_img
    >>> img = load_img("input/cat.jpg", (48, 36), Settings().color_means)
    >>> img.shape, img.dtype
    ((1, 36, 48, 3), dtype('float32'))
    """
    return preprocess(read_picture(path), size, color_means)


def deprocess(img: np.ndarray, color_means: np.ndarray) -> np.ndarray:
    """Add the colour means and convert to 8 bits. The result is a picture again.

    Parameters
    ----------
    img : ndarray
        float32 (h, w, 3), blue, green and red. It is not changed (the article's program changes it in place).
    color_means : ndarray
        float64 (1, 1, 3).

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red. Values are clipped to 0..255, then truncated, not rounded.
    """
    # Convert to float32 before the truncation: float64 99.9999999 would become 99 where the article has 100.
    img = (img + color_means).astype("float32")
    picture: np.ndarray = np.clip(img, 0, 255).astype("uint8")
    return picture


def encoded(picture: np.ndarray, path: str) -> bytes:
    """Return the bytes of a picture file.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red.
    path : str
        Its extension sets the format. The function writes no file.

    Raises
    ------
    OutputError
        If OpenCV has no encoder for the extension, or the format does not allow this size.
    """
    with console.silenced():
        try:
            done, data = cv2.imencode(os.path.splitext(path)[1], picture)
        except cv2.error:
            done = False
    if not done:
        raise OutputError(
            f"OpenCV cannot write {path!r} at {picture.shape[1]}x{picture.shape[0]}; "
            "name a file that ends in .jpg or .png, for example"
        )
    return data.tobytes()


def write_picture(picture: np.ndarray, path: str) -> None:
    """Write a picture file, whole or not at all, with OpenCV's default quality for the format.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red.
    path : str
        The file; its extension sets the format. An existing file is replaced when the new one is complete.

    Raises
    ------
    OutputError
        If OpenCV has no encoder for the extension, the format does not allow this size, or the file cannot be written.
    """
    write_bytes(encoded(picture, path), path)


def write_bytes(data: bytes, path: str) -> None:
    """Write a picture file that is encoded already, whole or not at all; raise OutputError if that fails."""
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"the picture {path!r} cannot be written: {error.strerror}") from error


def save_img(img: np.ndarray, path: str, color_means: np.ndarray) -> None:
    """Save a generated image as a picture file: `deprocess`, then `write_picture`.

    Parameters
    ----------
    img : ndarray
        float32 (h, w, 3), blue, green and red, colour means subtracted. It is not changed.
    path : str
        The picture file.
    color_means : ndarray
        float64 (1, 1, 3).

    Raises
    ------
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import cv2
    >>> from nst_graph import Settings, load_img, save_img
    >>> img = load_img("input/cat.jpg", (48, 36), Settings().color_means)
    >>> save_img(img[0], "cat.png", Settings().color_means)
    >>> cv2.imread("cat.png").shape
    (36, 48, 3)
    """
    write_picture(deprocess(img, color_means), path)


def check_output(path: str, size: Tuple[int, int], inputs: Sequence[Picture] = ()) -> None:
    """Check before a long run that its picture can be written. Existing files are not changed.

    Parameters
    ----------
    path : str
        The picture file to write later. Its folder is created if it is missing.
    size : tuple of int
        Width and height of the picture: some formats have a limit.
    inputs : sequence of paths or ndarrays
        Pictures that the run reads. The output must not replace them.

    Raises
    ------
    OutputError
        If OpenCV cannot write this format or size, the folder or the file cannot be written, or the file is an input.
    """
    encoded(np.zeros((size[1], size[0], 3), np.uint8), path)
    check_file(path, [os.fspath(picture) for picture in inputs if not isinstance(picture, np.ndarray)])


def create_noisy_img(img: np.ndarray, noise_ratio: float, rng: Optional[Any] = None) -> np.ndarray:
    """Mix the content image with noise. A run starts from the result.

    Parameters
    ----------
    img : ndarray
        float32 (1, h, w, 3), the preprocessed content image. It is not changed.
    noise_ratio : float
        Share of noise in the result, 0 to 1.
    rng : numpy.random.RandomState, optional
        Source of the noise. The default is NumPy's global generator, as in the article.

    Returns
    -------
    ndarray
        float32 (1, h, w, 3): noise_ratio * U(-20, 20) + (1 - noise_ratio) * img.

    Notes
    -----
    Source: the article, "Initialize the generated image".

    Examples
    --------
    >>> import numpy as np
    >>> from nst_graph import create_noisy_img
    >>> img = np.full((1, 36, 48, 3), 100, np.float32)
    >>> noisy_img = create_noisy_img(img, 0.6, np.random.RandomState(0))
    >>> bool(abs(noisy_img - 40).max() <= 12)  # 0.4 * 100, give or take 0.6 * 20
    True
    """
    noise = (np.random if rng is None else rng).uniform(-20, 20, img.shape).astype("float32")
    noisy_img: np.ndarray = noise_ratio * noise + (1 - noise_ratio) * img
    return noisy_img
