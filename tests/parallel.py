"""Sentences that people wrote, the same in many languages, for tests of what mustn't be rejected."""

from __future__ import annotations

CAPTIONS = {
    "eng_Latn": "Two dogs are playing in the snow.",
    "amh_Ethi": "ሁለት ውሾች በበረዶ ውስጥ እየተጫወቱ ነው።",
    "arb_Arab": "كلبان يلعبان في الثلج.",
    "ben_Beng": "দুটি কুকুর বরফে খেলছে।",
    "bul_Cyrl": "Две кучета играят в снега.",
    "cat_Latn": "Dos gossos juguen a la neu.",
    "ces_Latn": "Dva psi si hrají ve sněhu.",
    "dan_Latn": "To hunde leger i sneen.",
    "deu_Latn": "Zwei Hunde spielen im Schnee.",
    "ell_Grek": "Δύο σκυλιά παίζουν στο χιόνι.",
    "est_Latn": "Kaks koera mängivad lumes.",
    "eus_Latn": "Bi txakur elurretan jolasten ari dira.",
    "fin_Latn": "Kaksi koiraa leikkii lumessa.",
    "fra_Latn": "Deux chiens jouent dans la neige.",
    "heb_Hebr": "שני כלבים משחקים בשלג.",
    "hin_Deva": "दो कुत्ते बर्फ में खेल रहे हैं।",
    "hrv_Latn": "Dva psa se igraju u snijegu.",
    "hun_Latn": "Két kutya játszik a hóban.",
    "hye_Armn": "Երկու շուն խաղում են ձյան մեջ։",
    "ind_Latn": "Dua anjing sedang bermain di salju.",
    "isl_Latn": "Tveir hundar leika sér í snjónum.",
    "ita_Latn": "Due cani giocano nella neve.",
    "jpn_Jpan": "二匹の犬が雪の中で遊んでいます。",
    "kat_Geor": "ორი ძაღლი თოვლში თამაშობს.",
    "kor_Hang": "개 두 마리가 눈 속에서 놀고 있습니다.",
    "nld_Latn": "Twee honden spelen in de sneeuw.",
    "nob_Latn": "To hunder leker i snøen.",
    "pes_Arab": "دو سگ در برف بازی می‌کنند.",
    "pol_Latn": "Dwa psy bawią się na śniegu.",
    "por_Latn": "Dois cães brincam na neve.",
    "ron_Latn": "Doi câini se joacă în zăpadă.",
    "rus_Cyrl": "Две собаки играют в снегу.",
    "slk_Latn": "Dva psy sa hrajú v snehu.",
    "slv_Latn": "Dva psa se igrata v snegu.",
    "spa_Latn": "Dos perros juegan en la nieve.",
    "srp_Cyrl": "Два пса се играју у снегу.",
    "swe_Latn": "Två hundar leker i snön.",
    "swh_Latn": "Mbwa wawili wanacheza kwenye theluji.",
    "tam_Taml": "இரண்டு நாய்கள் பனியில் விளையாடுகின்றன.",
    "tha_Thai": "สุนัขสองตัวกำลังเล่นในหิมะ",
    "tur_Latn": "İki köpek karda oynuyor.",
    "ukr_Cyrl": "Дві собаки граються в снігу.",
    "vie_Latn": "Hai con chó đang chơi trong tuyết.",
    "zho_Hans": "两只狗在雪地里玩耍。",
    "zho_Hant": "兩隻狗在雪地裡玩耍。",
}
"""Language -> a caption, written for these tests."""

ARTICLES = {
    "eng_Latn": (
        "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
        "conscience and should act towards one another in a spirit of brotherhood."
    ),
    "als_Latn": (
        "Të gjithë njerëzit lindin të lirë dhe të barabartë në dinjitet dhe në të drejta. Ata kanë arsye "
        "dhe ndërgjegje dhe duhet të sillen ndaj njëri tjetrit me frymë vëllazërimi."
    ),
    "bod_Tibt": (
        "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ། "
        "ཁོང་ཚོར་རང་བྱུང་གི་བློ་རྩལ་དང་བསམ་ཚུལ་བཟང་པོ་འདོན་པའི་འོས་བབས་ཀྱང་ཡོད། "
        "དེ་བཞིན་ཕན་ཚུན་གཅིག་གིས་གཅིག་ལ་བུ་སྤུན་གྱི་འདུ་ཤེས་འཛིན་པའི་བྱ་སྤྱོད་ཀྱང་ལག་ལེན་བསྟར་དགོས་པ་ཡིན༎"
    ),
    "guj_Gujr": (
        "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે. તેમનામાં વિચારશક્તિ "
        "અને અંતઃકરણ હોય છે અને તેમણે પરસ્પર બંધુત્વની ભાવનાથી વર્તવું જોઇએ."
    ),
    "hau_Latn": (
        "Su dai ’yan-adam, ana haifuwarsu ne duka ’yantattu, kuma kowannensu na da mutunci da hakkoki "
        "daidai da na kowa. Suna da hankali da tunani, saboda haka duk abin da za su aikata wa juna, ya "
        "kamata su yi shi a cikin ’yan-uwanci."
    ),
    "kan_Knda": (
        "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ. ಹಾಗೂ ಘನತೆ ಮತ್ತು ಹಕ್ಕುಗಳಲ್ಲಿ ಸಮಾನರಾಗಿದ್ದಾರೆ. ವಿವೇಕ ಮತ್ತು "
        "ಅಂತಃಕರಣಗಳನ್ನು ಪಡೆದವರಾದ್ದರಿಂದ ಅವರು ಪರಸ್ಪರ ಸಹೋದರ ಭಾವದಿಂದ ವರ್ತಿಸಬೇಕು."
    ),
    "khk_Cyrl": (
        "Хүн бүр төрж мэндлэхэд эрх чөлөөтэй, адилхан нэр төртэй, ижил эрхтэй байдаг. Оюун ухаан, нандин "
        "чанар заяасан хүн гэгч өөр хоорондоо ахан дүүгийн үзэл санаагаар харьцах учиртай."
    ),
    "khm_Khmr": (
        "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ មនុស្ស "
        "មានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត "
        "ហើយគប្បីប្រព្រឹត្ដចំពោះគ្នាទៅវិញទៅមកក្នុងស្មារតីភាតរភាពជាបងប្អូន។"
    ),
    "lao_Laoo": (
        "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະ ສະເໝີໜ້າກັນໃນທາງກຽດຕິສັກ ແລະ "
        "ທາງສິດດ້ວຍມະນຸດມີສະຕິສຳປັດຊັນຍະ(ຮູ້ດີຮູ້ຊົ່ວ)ແລະມີມະໂນທຳຈື່ງຕ້ອງປະພຶດຕົນຕໍ່ກັນໃນທາງພີ່ນ້ອງ."
    ),
    "mal_Mlym": (
        "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചിട്ടുള്ളവരാണ്‌. "
        "അന്യോന്യം ഭ്രാതൃഭാവത്തോടെ പെരുമാറുവാനാണ്‌ മനുഷ്യന്നു വിവേകബുദ്ധിയും മനസ്സാക്ഷിയും "
        "സിദ്ധമായിരിക്കുന്നത്‌."
    ),
    "mar_Deva": (
        "सर्व मानवी व्यक्ति जन्मतःच स्वतंत्र आहेत व त्यांना समान प्रतिष्ठा व समान अधिकार आहेत. त्यांना "
        "विचारशक्ति व सदसविद्वेकबुद्धि लाभलेली आहे. व त्यांनी एकमेकांशी बंधुत्याच्या भावनेने आचरण करावे."
    ),
    "mya_Mymr": (
        "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော အခွင့်အရေးများဖြင့် "
        "လည်းကောင်း၊ မွေးဖွားလာသူများ ဖြစ်သည်။ ထိုသူတို့၌ ပိုင်းခြား ဝေဖန်တတ်သော ဉာဏ်နှင့် ကျင့်ဝတ် "
        "သိတတ်သော စိတ်တို့ရှိကြ၍ ထိုသူတို့သည် အချင်းချင်း မေတ္တာထား၍ ဆက်ဆံကျင့်သုံးသင့်၏။"
    ),
    "npi_Deva": (
        "सबै व्यक्ति हरू जन्मजात स्वतन्त्र हुन ती सबैको समान अधिकार र महत्व छ। निजहरूमा विचार शक्ति र "
        "सद्धिचार भएकोले निजहरूले आपसमा भातृत्वको भावना बाट व्यवहार गर्नु पर्छ।"
    ),
    "pan_Guru": (
        "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ ਅਤੇ ਸੁਤੇ ਸਿੱਧ ਸਾਰੇ ਲੋਕ "
        "ਬਰਾਬਰ ਹਨ । ਉਨ੍ਹਾਂ ਸਭਨਾ ਨੂੰ ਤਰਕ ਅਤੇ ਜ਼ਮੀਰ ਦੀ ਸੌਗਾਤ ਮਿਲੀ ਹੋਈ ਹੈ ਅਤੇ ਉਨ੍ਹਾਂ ਨੂੰ ਭਰਾਤਰੀਭਾਵ ਦੀ ਭਾਵਨਾ "
        "ਰਖਦਿਆਂ ਆਪਸ ਵਿਚ ਵਿਚਰਣਾ ਚਾਹੀਦਾ ਹੈ ।"
    ),
    "plt_Latn": (
        "Teraka afaka sy mitovy zo sy fahamendrehana ny olombelona rehetra. Samy manan-tsaina sy "
        "fieritreretana ka tokony hifampitondra am- pirahalahiana."
    ),
    "sin_Sinh": (
        "සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත. ගරුත්වයෙන් හා අයිතිවාසිකම්වලින් සමාන වෙති. යුක්ති අයුක්ති "
        "පිළිබඳ හැඟීමෙන් හා හෘදය සාක්ෂියෙන් යුත් ඔවුන්, ඔවුනොවුන්ට සැළකිය යුත්තේ සහෝදරත්වය පිළිබඳ "
        "හැඟීමෙනි."
    ),
    "som_Latn": (
        "Aadanaha dhammaantiis wuxuu dhashaa isagoo xor ah kana siman xagga sharafta iyo xuquuqada Waxaa "
        "Alle (Ilaah) siiyay aqoon iyo wacyi, waana in qof la arkaa qofka kale ula dhaqmaa si "
        "walaaltinimo ah."
    ),
    "tel_Telu": (
        "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు. వారు "
        "వివేచన-అంతఃకరణ సంపన్నులగుటచే పరస్పరము భ్రాతృభావముతో వర్తింపవలయును."
    ),
    "uig_Arab": (
        "ھەممە ئادەم زانىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا باپباراۋەر بولۇپ تۇغۇلغان. ئۇلار ئەقىلغە "
        "ۋە ۋىجدانغا ئىگە ھەمدە بىر-بىرىگە قېرىنداشلىق مۇناسىۋىتىگە خاس روھ بىلەن موئامىلە قىلىشى كېرەك."
    ),
    "urd_Arab": (
        "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ انہیں ضمیر اور عقل ودیعت ہوئی "
        "ہے۔ اس لئے انہیں ایک دوسرے کے ساتھ بھائی چارے کا سلوک کرنا چاہیئے۔"
    ),
    "yor_Latn": (
        "Gbogbo ènìyàn ni a bí ní òmìnira; iyì àti ẹ̀tọ́ kọ̀ọ̀kan sì dọ́gba. Wọ́n ní ẹ̀bùn ti làákàyè àti "
        "ti ẹ̀rí‐ọkàn, ó sì yẹ kí wọn ó máa hùwà sí ara wọn gẹ́gẹ́ bí ọmọ ìyá."
    ),
    "zul_Latn": (
        "Bonke abantu bazalwa bekhululekile belingana ngesithunzi nangamalungelo. Bahlanganiswe "
        "wumcabango nangunembeza futhi kufanele baphathane ngomoya wobunye."
    ),
}
"""Language -> article 1 of the Universal Declaration of Human Rights, as the United Nations publish it."""
