"""The triangles that marching cubes draws in a cell, for each of its 256 codes.

A cell has eight voxel centres as corners, and its code says which of them are in the mask: the
sum of `boneviz.elements.corner_bit` over those that are. Triangles go through the midpoints of the
edges that lead from in to out (Lorensen & Cline, "Marching cubes: a high resolution 3D surface
construction algorithm", SIGGRAPH 1987).

Codes with opposite corners in, and the diagonals of flat quadrangles, leave a choice that is
anybody's. It is made as in VTK, cell by cell, so that meshes and the distances between them are
those of MeshMetrics and of whatever else is built on VTK.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIDPOINTS", "Triangles", "triangles_of_codes"]

# Codes 1 to 254, three edges a triangle, as vtkDiscreteMarchingCubes of VTK 9.7 drew them when
# given each cell; seen from outside the mask, corners turn left.
TRIANGLES = """
lhd glc ghdcgd kbh lkbdlb glckbh gkbgbccbd akg kgahdl klcakc khdkdaadc abhgah lgaladdab
hlchcbbca abcbdc fjd jlhfjh lcgdfj jcgjgffgh bhkfjd bfjbjkkjl kbhlcgfjd bfjkbjkjckcg akgjdf
hfjhjlgak cakckldfj khfkfckcacfj hgahabfjd gjlgbjgabfjb fjdhlbblcbca jbfjcbcab ecj cjelhd
egljel djedehheg kbhcje lkblbdjec ljelegkbh kbdkdekegjed gakcje akgcjehdl eakekjjkl
edjadeahdakh abhahgcje ecjadgabddlg habhjahljjea edjeadabd fecdfc clhcheehf ldflfggfe gheehf
fecfcdhkb clkckfcfefkb kbhldggdfgfe bgkbfgfeg cdfcfeakg kgahelhfeecl afealfakldfl keakhehfe
ecdedfgahhab elfeclflbgalbla blabhlaledflelf beafeb bif hdlbif glcifb dcgdghbif kifhkf
fdlfliilk kifkfhlcg gdcgidgkiifd akgifb gakhdlifb klckcaifb ifbkhaahdadc aifafggfh lfdgflgifgai
icaihcifhlch faifdadca dbijdi hbihillij dbidijcgl cghchicijbih dhkdkjjki killij glckjhkijjdh
gjcgkjkij ijdidbkga akgilbijllhb bijbjdakcckl ahcakhchjbihjhi aijajhahghjd algailijl
jhijdhihalchahc ajcija ifbecj ecjfbilhd egleljfbi ifbehjeghhdj fhkfkiecj cjelidlkiifd
kihifhleglje idkifdkdgjedgde kgaifbcje akgbifcjehdl bifkjakljjea akhahdadejedifb cjeaiggifgfh
gaigifgfldlfcje jaljealahifahaf faifdaeajjad iecicbbcd clhechehbebi iegigdidbdgl ihbiehegh
hkihichcdeci cieclilki gdegldedihkdidk giekig gakcbecdbbie eclelhehibihakg bedbiedelakelek
ihbiehkhaahe gihgaihidecidic ciecliaiggil aiehld aie aei aeihdl aeiglc ghdgdceia kbhaei
bdlblkaei eiaglcbhk eiagkcckbcbd geikgi geigikhdl ceicillik hikhcihdceic ibhiheehg igeidgibddlg
chlehcebheib iceibcbdc eiajdf jlhjhfiae glceiadfj aeigfcghffjc aeibhkjdf aeibfkkfjkjl
dfjglcaeibhk kbfkfjkjgcgjaei ikgigejdf lhflfjkgiige dfjcelleilik fchfjchckeickci jdfibeebhehg
ebgeibgblfjblbj eibebhehclchjdf jbfjcbibeebc acjiaj jiajaclhd aglaliilj ajiahjaghhdj acjajibhk
acicjiblkbdl bhkagiiglilj igjiagjgdkbgdgb gcjgjkkji hdlgckkcjkji klilji dkhdjkjik chgcihcjibhi
dgbdlgbgicjgigj hibhlilji dibjid fiafaddac iacichihflhc ldfglfgfigia afiagfghf kbhadiacddfi
kflkbflfciafcfa gldgdfgfaiafkbh bgkbfgagiigf gcdgdigikidf kcikgcicflhcfch fldfilikl kfihfk
dicdficigbhigih gclibf fldfilhlbbli bfi baefbe baebefdlh efbebaglc ghchdcebaefb kaekehhef
aefaflalkdlf lcgkahhaehef ckdcgkdkfaekfke bkgbgffge lhdgfkgeffbk cklcfkceffbk fkefbkekchdkckd
gehefh lfdlgfgef chlcehefh fcedcf ejdedaadb hbahajhjljae glcejaajdadb ajbaejbjhcgjhjg
ejdaedadhahk ekaejkjlk aejajdadkhkdglc ekaejkgkcckj kdbkedkgejde lbjlhbjbekgbebg
leklcekebjdebed khbcej dejdhehge elgjle dejdhecelleh ejc jfbjbccba hdlbcfbaccjf gljgjbgbafbj
hjghdjgjafbjajb kfhkcfkaccjf cfacjfafkdlfkfl hafhkafajglajal agkjfd bjfkjbkcjkgc
kgckcjkjbfbjhdl bjfbkjklj dkhdjkbkffkj jgcjfgfhg jgcjfglgddgf jhlfhj fdj acbbcd hclhbcbac
lagldadba ahbgha kdhkadacd kclack lagldakahhad agk gbkgcbcdb hclhbcgckkcb lbkdbl khb gdhcdg gcl
ldh
"""

# Of the edges a to l, (12, 3) in the unit cell. Edges a to d run along x, e to h along y, i to l
# along z; in each four the other two coordinates, in order, are 00, 01, 10 and 11.
MIDPOINTS = np.array(
    [np.insert(np.array(at, float), axis, 0.5) for axis in range(3) for at in np.ndindex(2, 2)]
)


class Triangles(NamedTuple):
    """All triangles; the kind of a triangle is 5 * code + its number in the code.

    Parameters
    ----------
    per_code : (256,) int64
    edge : (1280, 3) int64, edges on which the corners of each kind lie, rows of `MIDPOINTS`; zeros
        where a code has fewer triangles
    inside : (1280, 3) int64, the end of the first of these edges that is in the mask
    """

    per_code: NDArray[np.int64]
    edge: NDArray[np.int64]
    inside: NDArray[np.int64]


@cache
def triangles_of_codes() -> Triangles:
    """Return the triangles of all codes."""
    per_code, edge = np.zeros(256, dtype=np.int64), np.zeros((1280, 3), dtype=np.int64)
    for code, word in enumerate(TRIANGLES.split(), start=1):
        per_code[code] = len(word) // 3
        letters = [ord(letter) - ord("a") for letter in word]
        edge[5 * code : 5 * code + per_code[code]] = np.reshape(letters, (-1, 3))
    low = np.floor(MIDPOINTS[edge[:, 0]]).astype(np.int64)
    high = np.ceil(MIDPOINTS[edge[:, 0]]).astype(np.int64)
    low_is_in = np.repeat(np.arange(256), 5) & (1 << (7 - low @ (4, 2, 1)))  # its `corner_bit`
    return Triangles(per_code, edge, np.where(low_is_in[:, None] > 0, low, high))
