"""English words that carry grammar rather than content. Operators that replace words leave them alone."""

_LISTED = """
a about above across after again against all almost also although always am among an and another any anybody anyone
anything are aren't around as at be because been before behind being below beneath beside between beyond both but by
can can't cannot could couldn't did didn't do does doesn't doing don't done down during each either else enough etc
even ever every everybody everyone everything except few for from further had hadn't has hasn't have haven't having
he he'd he'll he's hence her here here's hers herself him himself his how how's however i i'd i'll i'm i've if in
indeed instead into is isn't it it'd it'll it's its itself just least less let let's many may maybe me might mine
more most mostly much must mustn't my myself near neither never nevertheless no nobody none nor not nothing now of
off often on once one only onto or other others otherwise ought our ours ourselves out over own per perhaps quite
rather shall shan't she she'd she'll she's should shouldn't since so some somebody someone something somewhat such
than that that'd that'll that's the their theirs them themselves then there there's therefore these they they'd
they'll they're they've this those though through thus till to together too toward towards under unless until up
upon us very was wasn't we we'd we'll we're we've were weren't what what's whatever when when's whenever where
where's whereas wherever whether which while who who's whoever whom whose why why's will with within without won't
would wouldn't yet you you'd you'll you're you've your yours yourself yourselves
n't 're 've 'll 'm 's 'd ain ain't aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn
wasn weren wouldn
"""

STOP_WORDS = frozenset(_LISTED.split())


def is_stop_word(word: str) -> bool:
    """Whether `word` is one of them, in any case and with either apostrophe."""
    return word.lower().replace("’", "'") in STOP_WORDS
