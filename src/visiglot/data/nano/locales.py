"""CLDR locale -> FLORES-200 code."""

from __future__ import annotations

_T = """af afr_Latn|am amh_Ethi|ar arb_Arab|as asm_Beng|az azj_Latn|ba bak_Cyrl|be bel_Cyrl|bg bul_Cyrl|bn ben_Beng|bs bos_Latn
ca cat_Latn|cs ces_Latn|cy cym_Latn|da dan_Latn|de deu_Latn|el ell_Grek|en eng_Latn|es spa_Latn|et est_Latn|eu eus_Latn|fa pes_Arab
fi fin_Latn|fil tgl_Latn|fo fao_Latn|fr fra_Latn|ga gle_Latn|gd gla_Latn|gl glg_Latn|gu guj_Gujr|ha hau_Latn|he heb_Hebr|hi hin_Deva
hr hrv_Latn|hu hun_Latn|hy hye_Armn|id ind_Latn|ig ibo_Latn|is isl_Latn|it ita_Latn|ja jpn_Jpan|jv jav_Latn|ka kat_Geor|kk kaz_Cyrl
km khm_Khmr|kn kan_Knda|ko kor_Hang|ky kir_Cyrl|lo lao_Laoo|lt lit_Latn|lv lvs_Latn|mi mri_Latn|mk mkd_Cyrl|ml mal_Mlym|mn khk_Cyrl
mr mar_Deva|ms zsm_Latn|my mya_Mymr|ne npi_Deva|nl nld_Latn|no nob_Latn|om gaz_Latn|or ory_Orya|pa pan_Guru|pl pol_Latn|ps pbt_Arab
pt por_Latn|qu quy_Latn|ro ron_Latn|ru rus_Cyrl|sd snd_Arab|shn shn_Mymr|si sin_Sinh|sk slk_Latn|sl slv_Latn|so som_Latn|sq als_Latn
sr srp_Cyrl|sv swe_Latn|sw swh_Latn|ta tam_Taml|te tel_Telu|th tha_Thai|ti tir_Ethi|tk tuk_Latn|tr tur_Latn|uk ukr_Cyrl|ur urd_Arab
uz uzn_Latn|vi vie_Latn|yo yor_Latn|yue yue_Hant|zh zho_Hans|zh-Hant zho_Hant|zu zul_Latn|ak twi_Latn"""
_TABLE = dict(pair.split(" ") for line in _T.split("\n") for pair in line.split("|"))


def language_of(locale: str) -> str | None:
    """The FLORES-200 code of a CLDR locale, or None for a regional variant or a language the table doesn't hold."""
    return _TABLE.get(locale)


def locale_table() -> dict[str, str]:
    return _TABLE
